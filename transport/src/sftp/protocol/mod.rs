//! The messages of SFTP version 3 (draft-ietf-secsh-filexfer-02) and the channels that carry them.

pub(crate) mod attributes;
pub(crate) mod channel;
#[cfg(test)]
mod other_codec_tests;
pub(crate) mod packet;
#[cfg(test)]
mod packet_tests;
pub(crate) mod remote_path;
pub(crate) mod service;
pub(crate) mod write_packet;
