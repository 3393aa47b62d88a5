//! A running page, and who asks it: a small HTTP client that sends any bytes, and a browser.

pub(crate) mod browser;
pub(crate) mod http;
pub(crate) mod site;
