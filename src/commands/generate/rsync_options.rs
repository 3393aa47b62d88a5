//! `rsync-options`: prints how each rsync option is handled.

use crate::config::rsync::docs_page::page;
use crate::exit::Exit;

const EXAMPLES: &str = "\
Examples:
  backup_manager rsync-options | less";

/// Print how each rsync option is handled (the page docs/rsync-options.md, in Markdown)
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Exit {
    crate::term::print::print(page().as_bytes())
}
