//! The host that a request names, checked against those that the admin listener answers for.
//!
//! A page on the web can have its own host name resolve to 127.0.0.1 (DNS rebinding) and would then be
//! allowed to read every answer. Such a request still bears the name, in `Host` or in an absolute target.
//! Accepted are IP addresses, which no name server can redirect; `localhost`; and the names that the
//! server was given. A request without a host does not come from a browser and is accepted.
//!
//! Must not know what is asked. Invariant: a request that names any other host is refused.

use crate::front::pool::request::Request;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Turns the check off.
const ANY: &str = "*";
const LOCALHOST: &str = "localhost";

/// The host names that are answered for.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// `names` beside `localhost` and every IP address; [`ANY`] among them stands for all names.
    pub const fn new(names: Vec<String>) -> Self {
        Self(names)
    }

    /// Asserts that every host that `request` names is answered for.
    ///
    /// # Errors
    /// The one that is not.
    pub fn check(&self, request: &Request<'_>) -> Result<(), String> {
        if self.0.iter().any(|name| name == ANY) {
            return Ok(());
        }
        let host = request.host.map(String::from_utf8_lossy);
        let named = authority(request.target).into_iter().chain(host.as_deref());
        match named.map(name_of).find(|name| !self.has(name)) {
            Some(name) => Err(name.to_owned()),
            None => Ok(()),
        }
    }

    fn has(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        let is = |known: &str| name.eq_ignore_ascii_case(known.strip_suffix('.').unwrap_or(known));
        name.is_empty() || is_address(name) || is(LOCALHOST) || self.0.iter().any(|known| is(known))
    }
}

/// Host and port of a target in absolute form.
fn authority(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    if scheme.contains(['/', '?', '#']) {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next()?;
    Some(authority.rsplit('@').next().unwrap_or(authority))
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) && (name.ends_with(']') || !name.contains(':')) => name,
        _ => host,
    }
}

fn is_address(name: &str) -> bool {
    let bracketed = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match bracketed {
        // A zone names an interface of the client.
        Some(address) => {
            let address = address.split('%').next().unwrap_or(address);
            address.parse::<Ipv6Addr>().is_ok()
        }
        None => name.parse::<Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::pool::request::{Body, Version};

    fn check(names: &[&str], target: &str, host: Option<&str>) -> Result<(), String> {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        Hosts::new(names).check(&Request {
            method: "GET",
            target,
            version: Version::Http11,
            stays: true,
            body: Body::Empty,
            expects_continue: false,
            accept: None,
            host: host.map(str::as_bytes),
        })
    }

    #[test]
    fn addresses_and_localhost_are_accepted_with_any_port() {
        for host in [
            "localhost",
            "LocalHost:8081",
            "localhost.",
            "localhost.:80",
            "127.0.0.1",
            "127.9.9.9:1",
            "[::1]",
            "[::1]:8081",
            "10.0.0.7:9",
            "[2001:db8::7]:8081",
            "[fe80::1%25eth0]:8081",
            "",
            ":8081",
            "localhost:",
        ] {
            assert_eq!(check(&[], "/", Some(host)), Ok(()), "{host}");
        }
        assert_eq!(check(&[], "/", None), Ok(()));
    }

    #[test]
    fn every_other_name_is_refused_and_named() {
        for (host, name) in [
            ("evil.example", "evil.example"),
            ("evil.example:8081", "evil.example"),
            ("localhost.evil.example", "localhost.evil.example"),
            ("127.0.0.1.evil.example", "127.0.0.1.evil.example"),
            ("a", "a"),
            ("1.2.3", "1.2.3"),
            ("::1", "::1"),
            ("[evil]:80", "[evil]"),
            ("localhost:8081x", "localhost:8081x"),
        ] {
            assert_eq!(check(&[], "/", Some(host)), Err(name.to_owned()), "{host}");
        }
    }

    #[test]
    fn a_host_in_the_target_is_checked_too() {
        for target in [
            "http://evil.example/status",
            "http://localhost@evil.example:80",
            "http://evil.example?x=http://localhost/",
        ] {
            let refused = check(&[], target, Some("localhost"));
            assert_eq!(refused, Err("evil.example".to_owned()), "{target}");
        }
        assert!(check(&[], "http://localhost/", Some("evil.example")).is_err());
        for target in ["http://localhost:8081/", "/?x=http://evil.example/", "*"] {
            assert_eq!(check(&[], target, Some("localhost")), Ok(()), "{target}");
        }
    }

    #[test]
    fn names_that_were_given_are_accepted_and_a_star_stands_for_all() {
        assert_eq!(
            check(&["Tally.example."], "/", Some("tally.EXAMPLE:80")),
            Ok(())
        );
        assert!(check(&["tally.example"], "/", Some("x.tally.example")).is_err());
        assert_eq!(check(&["*"], "http://a/", Some("b")), Ok(()));
    }
}
