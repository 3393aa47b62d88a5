//! `rsync-options`: prints how each rsync option is handled.

use crate::config::rsync::docs_page::page;
use crate::exit::Exit;

/// Print what becomes of each rsync option (the page docs/rsync-options.md, in Markdown)
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Exit {
    crate::term::print::print(page().as_bytes())
}
