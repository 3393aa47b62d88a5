//! Reads the filter options, and the files that they name.

use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::Arc;

use engine::filter::Outside;
use engine::{FilterOption, Filters};

use crate::config::bounded;
use crate::config::mistake::{Mistake, SettingOrigin};

/// Maximum length in bytes of a rule file that an option names.
const LONGEST: u64 = 64 << 20;

/// The filters of `options`, each with its origin. Relative paths start in `current_dir`.
pub(crate) fn read(
    options: &[(FilterOption, String)],
    current_dir: &Path,
    mistakes: &mut Vec<Mistake>,
) -> Option<Arc<Filters>> {
    let home_file = || {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty())?;
        crate::config::bounded::read(
            &Path::new(&home).join(".cvsignore"),
            crate::config::bounded::TEXT,
        )
        .ok()
    };
    let outside = Outside {
        read: &|path| {
            // `-` is the standard input (rsync(1)).
            if path == Path::new("-") { text(io::stdin()) } else { file(&current_dir.join(path)) }
        },
        cvs_home: &home_file,
        cvs_variable: std::env::var_os("CVSIGNORE").map(OsStringExt::into_vec),
    };
    match Filters::read(options, &outside) {
        Ok(filters) => Some(Arc::new(filters)),
        Err(errors) => {
            mistakes.extend(errors.iter().map(|error| {
                let what = format!("{}{}", error.rule_shown(), error.fault);
                SettingOrigin::other(&error.origin.to_string()).mistake(what)
            }));
            None
        }
    }
}

fn file(path: &Path) -> io::Result<Vec<u8>> {
    text(bounded::open(path)?)
}

fn text(from: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    from.take(LONGEST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(io::Error::other(format!("it has more than {LONGEST} bytes")));
    }
    Ok(text)
}
