//! The commands one by one, and their manual pages and completions; `run` has its tests in the group `backup`.

mod adopt;
mod completions;
mod diff;
mod doctor;
mod dry_run;
mod history_of;
mod list;
mod manual;
mod only_folder;
mod status;
