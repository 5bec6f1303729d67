//! What a client says, and what it is to be told: bytes in, answers out, without a socket.
//!
//! Owns the state between two reads: whether a head, a body or nothing of interest comes next, and
//! whether there is a last answer. Bytes may come in any pieces: the answers are the same.
//!
//! Must not know of sockets, batches or tallies, nor which requests count. Invariants: every complete and
//! valid head has one response, whatever follows it; behind a refusal, or an answer that closes, nothing
//! is a head any more, and nothing is answered.

use super::body::{Drain, Drained};
use super::limits::Limits;
use super::request::{Body, Head, HeadLimits, Refusal, Request, Version, parse};

/// What the request has to say about its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// The version of the request.
    pub version: Version,
    /// Whether the connection stays.
    pub stays: bool,
    /// Whether only the head is wanted.
    pub is_head: bool,
}

impl Form {
    /// That of an answer to what cannot be understood.
    pub const LAST: Self = Self {
        version: Version::Http11,
        stays: false,
        is_head: false,
    };
}

/// What the client is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What belongs to a complete head: the tally of a hit, or what an operator asked for.
    Response(Form),
    /// To go on with the body.
    Continue,
    /// That it is refused.
    Refused(Refusal),
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// A request head, or nothing.
    Head,
    /// A body that is read and dropped.
    Body(Drain),
    /// Of no interest.
    Ignored,
}

/// What the client is waited for with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owes {
    /// Nothing: it may ask again.
    Nothing,
    /// The rest of a head.
    Head,
    /// The rest of a body.
    Body,
}

/// What became of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// How many were used up. The others are to be given again, with what follows them.
    pub used: usize,
    /// Whether there is more to do without any further byte: there was no room for more heads.
    pub more: bool,
    /// How many complete heads there were.
    pub head_count: usize,
}

/// One client's side of the conversation.
#[derive(Clone, Debug)]
pub struct Talk {
    phase: Phase,
    owes_head: bool,
    closes: bool,
    /// Whether bytes may come that nobody will use.
    strays: bool,
}

impl Default for Talk {
    fn default() -> Self {
        Self::new()
    }
}

impl Talk {
    /// A conversation that begins.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            phase: Phase::Head,
            owes_head: false,
            closes: false,
            strays: false,
        }
    }

    /// Whether the connection is to be closed behind the answers so far.
    #[must_use]
    pub const fn closes(&self) -> bool {
        self.closes
    }

    /// Whether it is to be closed and all that the client had to say was used.
    #[must_use]
    pub const fn ends_cleanly(&self) -> bool {
        self.closes && !self.strays && matches!(self.phase, Phase::Ignored)
    }

    /// What the client is waited for with.
    #[must_use]
    pub const fn owes(&self) -> Owes {
        match self.phase {
            Phase::Head if self.owes_head => Owes::Head,
            Phase::Body(_) => Owes::Body,
            Phase::Head | Phase::Ignored => Owes::Nothing,
        }
    }

    /// Ends it behind the body that is being read, if there is one: what else comes is of no interest.
    pub const fn end_behind_body(&mut self) {
        self.closes = true;
        self.strays = true;
        if !matches!(self.phase, Phase::Body(_)) {
            self.phase = Phase::Ignored;
        }
    }

    /// Ends it: what else comes is of no interest.
    pub const fn end(&mut self) {
        self.closes = true;
        self.strays = true;
        self.phase = Phase::Ignored;
    }

    /// Uses up what it can of `bytes` and appends to `answers`, with at most `room` complete heads, each
    /// of which is shown to `heads`. With `last`, the connection is closed behind the last of these
    /// answers, unless more of what was sent is to be answered.
    pub fn hear(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        last: bool,
        room: usize,
        answers: &mut Vec<Answer>,
        mut heads: impl FnMut(&Request<'_>),
    ) -> Heard {
        let mut heard = Heard {
            used: 0,
            more: false,
            head_count: 0,
        };
        while heard.used < bytes.len() {
            let rest = &bytes[heard.used..];
            match &mut self.phase {
                Phase::Ignored => {
                    self.strays = true;
                    heard.used = bytes.len();
                }
                Phase::Body(drain) => {
                    let (used, drained) = drain.feed(rest);
                    heard.used += used;
                    match drained {
                        Drained::More => break,
                        Drained::Done if self.closes => self.phase = Phase::Ignored,
                        Drained::Done => self.phase = Phase::Head,
                        // Its request has a response already, and a request has one.
                        Drained::Malformed => self.end(),
                    }
                }
                // Blank lines before a head are no part of it, nor is half of one.
                Phase::Head if rest == b"\r" => break,
                Phase::Head if rest[0] == b'\n' => heard.used += 1,
                Phase::Head if rest.starts_with(b"\r\n") => heard.used += 2,
                Phase::Head if heard.head_count == room => {
                    heard.more = true;
                    break;
                }
                Phase::Head => match parse(rest, &head_limits(limits)) {
                    Head::Partial => {
                        self.owes_head = true;
                        break;
                    }
                    Head::Refused(refusal) => self.refuse(refusal, answers),
                    Head::Complete { request, bytes } => {
                        heard.used += bytes;
                        heard.head_count += 1;
                        heads(&request);
                        self.owes_head = false;
                        // The body is read to its end all the same, so that the answer arrives.
                        let is_long = matches!(request.body, Body::Length(bytes) if bytes > limits.body_bytes_max);
                        let stays = request.stays && !is_long;
                        if request.expects_continue {
                            answers.push(Answer::Continue);
                        }
                        answers.push(Answer::Response(Form {
                            version: request.version,
                            stays,
                            is_head: request.method == "HEAD",
                        }));
                        self.closes |= !stays;
                        self.phase = match request.body {
                            Body::Empty | Body::Length(0) if self.closes => Phase::Ignored,
                            Body::Empty | Body::Length(0) => Phase::Head,
                            body => Phase::Body(Drain::new(body)),
                        };
                    }
                },
            }
        }
        if last && heard.head_count > 0 && !heard.more && !self.owes_head {
            self.close_behind(answers);
        }
        heard
    }

    /// Has the last answer say that the connection ends with it. The client did not expect that, and may
    /// have sent more already.
    fn close_behind(&mut self, answers: &mut [Answer]) {
        if let Some(Answer::Response(form)) = answers.last_mut()
            && form.stays
        {
            form.stays = false;
            self.end_behind_body();
        }
    }

    fn refuse(&mut self, refusal: Refusal, answers: &mut Vec<Answer>) {
        answers.push(Answer::Refused(refusal));
        self.end();
    }
}

const fn head_limits(limits: &Limits) -> HeadLimits {
    HeadLimits {
        head_bytes_max: limits.head_bytes_max,
        target_bytes_max: limits.target_bytes_max(),
        headers_max: limits.headers_max,
    }
}
