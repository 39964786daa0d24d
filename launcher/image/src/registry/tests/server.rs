//! A registry of one image, each of whose answers a test can replace.

use crate::digest::Digest;
use flate2::{Compression, write::GzEncoder};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read as _, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) path: String,
    headers: BTreeMap<String, String>,
    /// What an honest registry would send.
    pub(super) blob: Option<Vec<u8>>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(super) fn range_start(&self) -> usize {
        let range = self.header("range").unwrap_or("bytes=0-");
        range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap()
    }
}

/// Raw bytes, and what comes after them.
pub(super) struct Answer {
    bytes: Vec<u8>,
    then: Then,
}

enum Then {
    Close,
    Stall,
    Endless,
    /// These bytes, slowly.
    Drip(Vec<u8>),
}

pub(super) fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    Answer { bytes: answer_bytes(status, headers, body), then: Then::Close }
}

pub(super) fn answer_bytes(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n").into_bytes();
    for (name, value) in headers {
        write!(bytes, "{name}: {value}\r\n").unwrap();
    }
    write!(bytes, "content-length: {}\r\n\r\n", body.len()).unwrap();
    bytes.extend(body);
    bytes
}

impl Answer {
    /// Promises all from `start` on, sends up to `end` only.
    pub(super) fn cut_short(blob: &[u8], start: usize, end: usize) -> Self {
        let mut whole = Self::part(blob, start);
        let missing = blob.len() - end;
        whole.bytes.truncate(whole.bytes.len() - missing);
        whole
    }

    fn part(blob: &[u8], start: usize) -> Self {
        if start == 0 {
            return answer(200, &[], blob);
        }
        let range = format!("bytes {start}-{}/{}", blob.len() - 1, blob.len());
        answer(206, &[("content-range", &range)], &blob[start..])
    }

    pub(super) fn stall(blob: &[u8], sent: usize) -> Self {
        Self { then: Then::Stall, ..Self::cut_short(blob, 0, sent) }
    }

    pub(super) fn silence() -> Self {
        Self { bytes: Vec::new(), then: Then::Stall }
    }

    /// Takes four seconds for all of it, and never pauses for long.
    pub(super) fn drip(blob: &[u8]) -> Self {
        Self { then: Then::Drip(blob.to_vec()), ..Self::cut_short(blob, 0, 0) }
    }

    pub(super) fn endless() -> Self {
        let bytes = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
        Self { bytes, then: Then::Endless }
    }
}

/// Replaces the answers to paths that contain a text; gets the request and how often it was asked
/// before; `None`: the honest answer.
type Rule = Box<dyn Fn(&Request, usize) -> Option<Answer> + Send>;

#[derive(Default)]
struct State {
    blobs: BTreeMap<String, Vec<u8>>,
    rules: Vec<(String, usize, Rule)>,
    requests: Vec<Request>,
}

pub(super) struct Registry {
    host: String,
    manifest: Digest,
    state: Arc<Mutex<State>>,
}

impl Registry {
    /// Has `app:1`, of one gzip layer of some 60 KB.
    pub(super) fn with_image() -> Self {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        let mut noise = 1u32;
        let contents = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            noise.to_be_bytes()[0]
        });
        let contents: Vec<u8> = contents.take(60_000).collect();
        header.set_size(contents.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, "file", &contents[..]).unwrap();
        let tar = tar.into_inner().unwrap();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&tar).unwrap();
        let layer = gzip.finish().unwrap();
        let crate::platform::Platform { os, architecture, .. } =
            crate::platform::Platform::machine();
        let config = format!(
            r#"{{"os":"{os}","architecture":"{architecture}","rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            Digest::of(&tar)
        );
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
            "config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},
            "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{}","size":{}}}]}}"#,
            Digest::of(config.as_bytes()),
            config.len(),
            Digest::of(&layer),
            layer.len()
        );
        let digest = Digest::of(manifest.as_bytes());
        let mut state = State::default();
        for blob in [config.into_bytes(), layer] {
            state.blobs.insert(format!("/v2/app/blobs/{}", Digest::of(&blob)), blob);
        }
        for version in ["1".to_owned(), digest.to_string()] {
            state.blobs.insert(format!("/v2/app/manifests/{version}"), manifest.clone().into());
        }
        let state = Arc::new(Mutex::new(state));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let shared = Arc::clone(&state);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(&stream, &shared));
            }
        });
        Self { host, manifest: digest, state }
    }

    pub(super) fn host(&self) -> String {
        self.host.clone()
    }

    pub(super) fn manifest_digest(&self) -> Digest {
        self.manifest
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    /// What an honest registry sends, by path.
    pub(super) fn blobs(&self) -> BTreeMap<String, Vec<u8>> {
        self.state.lock().unwrap().blobs.clone()
    }

    pub(super) fn on(
        &mut self,
        path: &str,
        rule: impl Fn(&Request, usize) -> Option<Answer> + Send + 'static,
    ) {
        self.state.lock().unwrap().rules.push((path.to_owned(), 0, Box::new(rule)));
    }

    /// Asks for a token that `/token` gives out to whoever has a password.
    pub(super) fn require_token(&mut self, token: &'static str) {
        let challenge = format!(r#"Bearer realm="http://{}/token",service="test""#, self.host);
        self.on("/v2/", move |request, _| {
            let welcome = request.header("authorization") == Some(&format!("Bearer {token}"));
            (!welcome).then(|| answer(401, &[("www-authenticate", &challenge)], b""))
        });
        self.on("/token", move |_, _| {
            Some(answer(200, &[], format!(r#"{{"token":"{token}"}}"#).as_bytes()))
        });
    }
}

fn serve(stream: &TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let headers = lines.map_while(Result::ok).take_while(|line| !line.is_empty());
    let headers = headers.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    let headers = headers.collect();
    let chosen = {
        let mut state = state.lock().unwrap();
        let request = Request { blob: state.blobs.get(&path).cloned(), path, headers };
        state.requests.push(request.clone());
        let mut chosen = None;
        for (part, count, rule) in &mut state.rules {
            if chosen.is_none() && request.path.contains(part.as_str()) {
                chosen = rule(&request, *count);
                *count += 1;
            }
        }
        chosen.unwrap_or_else(|| match &request.blob {
            Some(blob) => Answer::part(blob, request.range_start()),
            None => answer(404, &[], br#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
        })
    };
    (&mut &*stream).write_all(&chosen.bytes).ok()?;
    match chosen.then {
        Then::Close => {}
        Then::Stall => std::thread::sleep(Duration::from_secs(10)),
        Then::Drip(rest) => {
            for part in rest.chunks(rest.len().div_ceil(40)) {
                (&mut &*stream).write_all(part).ok()?;
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        Then::Endless => while (&mut &*stream).write_all(&[b'x'; 65536]).is_ok() {},
    }
    // Closing with unread input would reset the connection before the answer is read.
    stream.shutdown(std::net::Shutdown::Write).ok()?;
    let _ = (&mut &*stream).take(1 << 20).read_to_end(&mut Vec::new());
    Some(())
}
