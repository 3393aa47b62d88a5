//! Rename detection: a file that is new at its path and that the base has at a path which the source no longer has.
//! The walk first looks at all folders that the base has too, and collects what is gone from them. Then it enters the new
//! folders, and decides about the new and changed files that it deferred.

pub(crate) mod deferred;
pub(crate) mod found;
pub(crate) mod gone_files;
pub(crate) mod match_taken_up;
pub(crate) mod matching;
pub(crate) mod taken_up;
