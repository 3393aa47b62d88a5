//! Checks of the settings of the web page.

use std::path::PathBuf;

use web::{Listen, check_base_path, check_listen};

use crate::config::checks::backup::log_file;
use crate::config::checks::list;
use crate::config::checks::value::{Checked, Raw, text, wrong};

pub(crate) fn listen(raw: &Raw) -> Checked<Listen> {
    let text = text(raw)?;
    check_listen(&text).map_err(|advice| vec![format!("'{text}' cannot be listened on; {advice}")])
}

pub(crate) fn users_file(raw: &Raw) -> Checked<PathBuf> {
    let path = log_file(raw)?;
    if path.as_os_str().is_empty() {
        wrong("it is empty; write the path of a file")
    } else {
        Ok(path)
    }
}

pub(crate) fn base_path(raw: &Raw) -> Checked<String> {
    let text = text(raw)?;
    check_base_path(&text)
        .map_err(|advice| vec![format!("'{text}' is not a path of a URL; {advice}")])
}

pub(crate) fn hosts(raw: &Raw) -> Checked<Vec<String>> {
    let names = match raw {
        Raw::List(names) => names.clone(),
        raw => {
            let names = list::split(text(raw)?.as_bytes()).into_iter();
            names.map(|name| String::from_utf8_lossy(&name).trim().to_owned()).collect()
        }
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    match names.iter().find(|name| name.is_empty() || !name.bytes().all(plain)) {
        Some(name) => wrong(format!(
            "'{name}' is not the name of a host; write for example backups.example.org, without a port"
        )),
        None => Ok(names),
    }
}
