//! The web page, as a browser or any other program asks it.

mod access;
mod browser;
mod clicks;
mod downloads;
mod fuzz;
mod hostile;
mod http;
mod live;
mod pages;
mod screenshots;
mod site;
