//! A real browser: Debian's chromium, driven over WebDriver (W3C) by thirtyfour, without and with JavaScript.
//!
//! It is not part of what CI proves: where chromium is missing, or with `CI=true`, these tests report that they are skipped.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use async_trait::async_trait;
use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use fixtures::need::{Missing, tool};
use fixtures::patience::wait_for;
use fixtures::reserved_port::ReservedPort;
use http::{Request, Response};
use serde_json::{Value, json};
use thirtyfour::prelude::*;
use thirtyfour::session::http::{Body, HttpClient};
use thirtyfour::support::block_on;

use crate::client::http::{over_tcp, request};

/// A browser window.
pub(crate) struct Browser {
    process: Child,
    /// `None` only while it is closed.
    driver: Option<WebDriver>,
}

/// Whether a browser is asked for and there. Without one the test is reported as skipped, also with `CI=true`.
pub(crate) fn available() -> Result<(), Missing> {
    tool("chromium").and(tool("chromedriver"))
}

/// Carries the commands to chromedriver, which is on this machine: the client of the other tests does that, so
/// thirtyfour needs none of its own, and no TLS.
struct Plain(String);

#[async_trait]
impl HttpClient for Plain {
    async fn send(&self, sent: Request<Body<'_>>) -> WebDriverResult<Response<Bytes>> {
        let body = match sent.body() {
            Body::Empty => String::new(),
            Body::Json(value) => value.to_string(),
        };
        let answer =
            over_tcp(&self.0, &request(sent.method().as_str(), sent.uri().path(), "", &body));
        let response = Response::builder().status(answer.status).body(Bytes::from(answer.body));
        response.map_err(|error| WebDriverError::RequestFailed(error.to_string()))
    }

    async fn new(&self) -> Arc<dyn HttpClient> {
        Arc::new(Self(self.0.clone()))
    }
}

impl Browser {
    /// Opens a window of `width` pixels.
    pub(crate) fn open(width: u32, scripts: bool) -> Self {
        let port = ReservedPort::any();
        let address = port.address();
        let process = Command::new("chromedriver")
            .arg(format!("--port={}", port.number()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        wait_for("chromedriver", String::new, || TcpStream::connect(&address).is_ok());
        let builder = WebDriver::builder(format!("http://{address}"), capabilities(scripts))
            .client(Plain(address));
        let driver = block_on(builder.connect()).expect("a session");
        let browser = Self { process, driver: Some(driver) };
        browser.resize(width, 900);
        browser
    }

    fn driver(&self) -> &WebDriver {
        self.driver.as_ref().expect("it is open")
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
        block_on(self.driver().cdp().send_raw(command, params)).expect("an answer")
    }

    pub(crate) fn go(&self, url: &str) {
        block_on(self.driver().goto(url)).expect("the page");
    }

    pub(crate) fn url(&self) -> String {
        block_on(self.driver().current_url()).expect("an address").to_string()
    }

    /// What a person reads. Empty while another page is being loaded.
    pub(crate) fn text(&self) -> String {
        let body = self.find(By::Tag("body"));
        body.and_then(|body| block_on(body.text()).ok()).unwrap_or_default()
    }

    /// Waits until a person reads `words`.
    #[track_caller]
    pub(crate) fn assert_reads(&self, words: &str) {
        wait_for(words, || self.text(), || self.text().contains(words));
    }

    fn find(&self, by: By) -> Option<WebElement> {
        block_on(self.driver().find(by)).ok()
    }

    /// Clicks the first visible link or button that reads `words`, once there is one.
    #[track_caller]
    pub(crate) fn click(&self, words: &str) {
        let path =
            format!("//*[self::a or self::button][contains(normalize-space(.), \"{words}\")]");
        let seen = |element: &WebElement| block_on(element.is_displayed()).unwrap_or_default();
        let click = || {
            let all = block_on(self.driver().find_all(By::XPath(path.clone())));
            let found = all.unwrap_or_default().into_iter().find(seen);
            found.is_some_and(|element| block_on(element.click()).is_ok())
        };
        let story = || format!("{}:\n{}", self.url(), self.text());
        wait_for(&format!("link or button {words:?}"), story, click);
    }

    /// Types into the field called `name`.
    #[track_caller]
    pub(crate) fn write(&self, name: &str, words: &str) {
        let field = format!("main [name={name}], header [name={name}]");
        let field = self.find(By::Css(field)).expect("a field");
        block_on(field.send_keys(words)).expect("typed");
    }

    /// Presses a key where the focus is.
    pub(crate) fn press(&self, key: Key) {
        let focus = block_on(self.driver().active_element()).expect("the focus");
        block_on(focus.send_keys(key)).expect("pressed");
    }

    /// The words of the element that has the focus.
    pub(crate) fn focus(&self) -> String {
        let focus = block_on(self.driver().active_element()).expect("the focus");
        block_on(focus.text()).expect("its text")
    }

    /// Stores downloads in a folder.
    pub(crate) fn store_downloads(&self, folder: &Path) {
        let params = json!({"behavior": "allow", "downloadPath": folder});
        self.devtools("Browser.setDownloadBehavior", &params);
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
        let value = block_on(self.driver().execute(text, Vec::new())).expect("a value");
        value.json().clone()
    }

    /// A picture of the whole page as PNG.
    pub(crate) fn picture(&self, file: &Path) {
        let taken =
            self.devtools("Page.captureScreenshot", &json!({"captureBeyondViewport": true}));
        let coded = taken["data"].as_str().expect("a picture");
        std::fs::write(file, BASE64_STANDARD.decode(coded).expect("base64")).expect("written");
    }
}

fn capabilities(scripts: bool) -> Capabilities {
    let mut asked = DesiredCapabilities::chrome();
    for arg in [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--lang=en",
    ] {
        asked.add_arg(arg).expect("an argument");
    }
    // 2 blocks (chromium, content settings).
    let prefs =
        json!({"profile.managed_default_content_settings.javascript": if scripts { 1 } else { 2 }});
    asked.add_experimental_option("prefs", prefs).expect("an option");
    asked.into()
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.take() {
            let _ = block_on(driver.quit());
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
