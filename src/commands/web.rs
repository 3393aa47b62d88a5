//! `web`: serves a read-only web page over the snapshots.

use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use web::{Listen, ServeError, Settings, add_user, check_listen, serve};

use crate::args::flags::{Places, SettingFlags};
use crate::args::load::{configured, inputs};
use crate::config::load_for_reading;
use crate::config::mistake::shown_path;
use crate::config::types::WebSettings;
use crate::exit::Exit;
use crate::page::jobs::Page;
use crate::snapshots::open::{Where, again};
use crate::term::password::ask_password;
use crate::term::print::{fail, say};

const EXAMPLES: &str = "\
The page only reads: it gives up the right to open anything but the backups folders and the sources on this machine, where the kernel has Landlock. \
It answers on this machine only, unless WEB_USERS_FILE names the users who may log in. Restore shows the command and \
does nothing. Behind a reverse proxy see docs/web.md: a unix socket, WEB_BASE_PATH, WEB_HOST.

Examples:
  backup_manager web --backups-dir /backups
      Serve the page at http://127.0.0.1:8385/
  WEB_USERS_FILE=/etc/backup_users backup_manager web --add-user ann
      Ask for a password and let ann log in
  backup_manager web --listen unix:/run/backup_manager/web.sock
      Listen on a socket for a reverse proxy

Exit codes: 0 ended by a signal, or the user was added; 1 the address or the users file cannot be used; 2 usage or \
configuration.";

/// Serve a read-only web page: health, time line, folders, versions, differences, downloads
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Listen on ADDRESS:PORT, or on unix:PATH of a socket [WEB_LISTEN, default 127.0.0.1:8385]
    #[arg(long, value_name = "ADDRESS", value_parser = check_listen)]
    listen: Option<Listen>,
    /// Add this user to WEB_USERS_FILE, or change the password, and end; reads the password from stdin
    #[arg(long, value_name = "NAME")]
    add_user: Option<String>,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    settings: SettingFlags<Places>,
}

pub(crate) fn run(args: Args) -> Exit {
    let given = again(&args.place, &args.settings.given);
    let Where { jobs, config } = args.place;
    let Some(inputs) = inputs(args.settings.given, Vec::new(), config, jobs) else {
        return Exit::Usage;
    };
    if let Some(name) = args.add_user {
        let Some(config) = configured(&inputs, load_for_reading) else { return Exit::Usage };
        return add(&config.web, &name);
    }
    let Some((page, settings)) = Page::load(&inputs, given) else { return Exit::Usage };
    let WebSettings { listen, users_file, base_path, hosts } = settings;
    let known = page.settings.known();
    let (folders, sources) = (known.folders(), known.sources());
    // A folder that is made later could not be opened any more.
    if let Some(missing) = folders.iter().find(|folder| !folder.is_dir()) {
        fail(&format!(
            "there is no folder {}; start the page again once it exists",
            shown_path(missing)
        ));
        return Exit::Failed;
    }
    let listen = args.listen.or(listen).unwrap_or_default();
    let settings = Settings { listen, users_file, base_path, hosts, folders, sources };
    if let Err(error) = end_on_signals() {
        fail(&format!("cannot catch signals: {error}"));
        return Exit::Failed;
    }
    let ready = |url: &str| say(&format!("the web page is at {url}"));
    match serve(Box::new(page), settings, ready) {
        Ok(()) => Exit::Done,
        Err(error) => {
            let hint = hint(&error);
            fail(&format!("{error}{hint}"));
            if matches!(error, ServeError::Open(_)) { Exit::Usage } else { Exit::Failed }
        }
    }
}

fn hint(error: &ServeError) -> &'static str {
    match error {
        ServeError::Open(_) => {
            "; set WEB_USERS_FILE (web --add-user NAME writes it), or listen on 127.0.0.1 or unix:PATH behind a reverse proxy"
        }
        ServeError::Listen(_, error) => match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "; another program has it, choose another port with --listen"
            }
            std::io::ErrorKind::PermissionDenied => {
                "; ports below 1024 are root's, choose a larger one with --listen"
            }
            _ => "; choose an address of this machine with --listen",
        },
        _ => "",
    }
}

/// Adds a user to the users file.
fn add(settings: &WebSettings, name: &str) -> Exit {
    let Some(path) = &settings.users_file else {
        fail(
            "WEB_USERS_FILE is not set; set it to the path of the file with the users, such as /config/web_users",
        );
        return Exit::Usage;
    };
    let password = match ask_password("password: ") {
        Ok(password) => password,
        Err(error) => {
            fail(&format!("cannot read the password: {error}"));
            return Exit::Failed;
        }
    };
    match add_user(path, name, &password) {
        Ok(()) => {
            say(&format!("{name} can log in"));
            Exit::Done
        }
        Err(error) => {
            fail(&error.to_string());
            Exit::Failed
        }
    }
}

/// Ends the process at a signal. A download that is under way ends with its connection.
fn end_on_signals() -> std::io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if signals.forever().next().is_some() {
            std::process::exit(i32::from(Exit::Done.code()));
        }
    })?;
    Ok(())
}
