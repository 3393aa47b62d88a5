//! A real browser: Debian's chromium, driven over WebDriver (W3C), without and with JavaScript.
//!
//! It is not part of what CI proves: where chromium is missing, or with `CI=true`, these tests report that they are skipped.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fixtures::need::{Missing, tool};
use fixtures::patience::wait_for;
use serde_json::{Value, json};

use crate::http::{over_tcp, request};
use crate::site::free_address;

/// The key of an element in an answer (WebDriver, 12.2).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser window.
pub(crate) struct Browser {
    driver: Child,
    address: String,
    session: String,
}

/// Whether a browser is asked for and there. Without one the test is reported as skipped, also with `CI=true`.
pub(crate) fn available() -> Result<(), Missing> {
    tool("chromium").and(tool("chromedriver"))
}

impl Browser {
    /// Opens a window of `width` pixels.
    pub(crate) fn open(width: u32, scripts: bool) -> Self {
        let address = free_address();
        let port = address.rsplit(':').next().unwrap_or_default();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        wait_for("chromedriver", String::new, || TcpStream::connect(&address).is_ok());
        let mut browser = Self { driver, address, session: String::new() };
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--lang=en",
        ];
        // 2 blocks (chromium, content settings).
        let prefs = json!({"profile.managed_default_content_settings.javascript": if scripts { 1 } else { 2 }});
        let options = json!({"args": args, "prefs": prefs});
        let asked = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}});
        let opened = browser.call("POST", "/session", &asked);
        browser.session = opened["sessionId"].as_str().expect("a session").to_owned();
        browser.resize(width, 900);
        browser
    }

    /// Sets the size of the page in pixels, which may be smaller than a window can be.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        let params = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.devtools("Emulation.setDeviceMetricsOverride", &params);
    }

    /// Lets the system ask for dark colours.
    pub(crate) fn dark(&self) {
        let feature = json!([{"name": "prefers-color-scheme", "value": "dark"}]);
        self.devtools("Emulation.setEmulatedMedia", &json!({"features": feature}));
    }

    fn devtools(&self, command: &str, params: &Value) -> Value {
        self.ask("POST", "/goog/cdp/execute", &json!({"cmd": command, "params": params}))
    }

    pub(crate) fn go(&self, url: &str) {
        self.ask("POST", "/url", &json!({"url": url}));
    }

    pub(crate) fn url(&self) -> String {
        self.ask("GET", "/url", &Value::Null).as_str().unwrap_or_default().to_owned()
    }

    /// What a person reads.
    pub(crate) fn text(&self) -> String {
        let body = self.find("css selector", "body").expect("a body");
        self.ask("GET", &format!("/element/{body}/text"), &Value::Null)
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    fn find(&self, using: &str, value: &str) -> Option<String> {
        let found =
            self.call("POST", &self.path("/element"), &json!({"using": using, "value": value}));
        found[ELEMENT].as_str().map(str::to_owned)
    }

    /// Clicks the first visible link or button that reads `words`.
    #[track_caller]
    pub(crate) fn click(&self, words: &str) {
        let path =
            format!("//*[self::a or self::button][contains(normalize-space(.), \"{words}\")]");
        let element = self.find("xpath", &path);
        let (url, text) = (self.url(), self.text());
        assert!(element.is_some(), "nothing to click reads {words:?} on {url}:\n{text}");
        let element = element.unwrap_or_default();
        self.ask("POST", &format!("/element/{element}/click"), &json!({}));
    }

    /// Types into the field called `name`.
    #[track_caller]
    pub(crate) fn write(&self, name: &str, words: &str) {
        let field = self
            .find("css selector", &format!("main [name={name}], header [name={name}]"))
            .expect("a field");
        self.ask("POST", &format!("/element/{field}/value"), &json!({"text": words}));
    }

    /// The width of the page beyond the window, pixels.
    pub(crate) fn overhang(&self) -> i64 {
        let metrics = self.devtools("Page.getLayoutMetrics", &json!({}));
        let number = |at: &str, what: &str| metrics[at][what].as_f64().unwrap_or(0.0);
        #[expect(clippy::cast_possible_truncation, reason = "pixels")]
        let overhang =
            (number("cssContentSize", "width") - number("cssLayoutViewport", "clientWidth")) as i64;
        overhang
    }

    /// Runs a script in the page, with its value.
    pub(crate) fn script(&self, text: &str) -> Value {
        self.ask("POST", "/execute/sync", &json!({"script": text, "args": []}))
    }

    /// A picture of the whole page as PNG, in the form of base64.
    pub(crate) fn picture(&self, file: &Path) {
        let taken =
            self.devtools("Page.captureScreenshot", &json!({"captureBeyondViewport": true}));
        let text = taken["data"].as_str().expect("a picture");
        let coded = file.with_extension("base64");
        std::fs::write(&coded, text).expect("written");
        let png = Command::new("base64").arg("-d").arg(&coded).output().expect("base64");
        std::fs::write(file, png.stdout).expect("written");
        std::fs::remove_file(coded).expect("removed");
    }

    fn path(&self, rest: &str) -> String {
        format!("/session/{}{rest}", self.session)
    }

    #[track_caller]
    fn ask(&self, method: &str, rest: &str, body: &Value) -> Value {
        let answer = self.call(method, &self.path(rest), body);
        assert!(answer["error"].is_null(), "{rest}: {answer}");
        answer
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = over_tcp(&self.address, &request(method, path, "", &body));
        let mut answer: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        answer["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            self.call("DELETE", &self.path(""), &Value::Null);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
