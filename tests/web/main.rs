//! The web page, as a browser or any other program asks it.

mod access;
mod client;
mod downloads;
mod fuzz;
mod health;
mod hostile;
mod in_browser;
mod limits;
mod live;
mod pages;
mod settings;
mod source;
