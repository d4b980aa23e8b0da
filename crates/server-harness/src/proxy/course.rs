//! What happens to one connection: for each piece that was read, how much of it passes, how fast, and
//! whether that was the last.

use std::time::Duration;

use super::shared::Choice;
use super::{Direction, Fault, FaultKind, Moment};

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Cut,
    Reset,
    Stall,
}

/// How fast a piece passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    AtOnce,
    Late(Duration),
    Trickle { bytes: usize, every: Duration },
}

/// What becomes of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// How many of its bytes pass.
    pub(super) pass: usize,
    pub(super) pace: Pace,
    /// What happens then.
    pub(super) end: Option<End>,
    /// The fault that has happened to it now, and not before.
    pub(super) happened: Option<FaultKind>,
}

impl Verdict {
    fn all(piece: &[u8]) -> Self {
        Self {
            pass: piece.len(),
            pace: Pace::AtOnce,
            end: None,
            happened: None,
        }
    }
}

/// How far a connection is with the fault that was chosen for it.
#[derive(Debug)]
pub(super) struct Course {
    choice: Choice,
    to_server: u64,
    to_client: u64,
    /// The end of what went to the server, in which a text may have begun.
    tail: Vec<u8>,
    /// Whether a request had the text that is looked for.
    asked: bool,
    answer: Answer,
    /// Whether a fault that goes on has begun.
    begun: bool,
}

/// The answer that is to be cut in the middle.
#[derive(Debug, Default)]
struct Answer {
    head: Vec<u8>,
    passed: usize,
    /// How much of it passes.
    target: Option<usize>,
}

impl Course {
    pub(super) fn new(choice: Choice) -> Self {
        Self {
            choice,
            to_server: 0,
            to_client: 0,
            tail: Vec::new(),
            asked: false,
            answer: Answer::default(),
            begun: false,
        }
    }

    /// Of which plan it is.
    pub(super) fn generation(&self) -> u64 {
        self.choice.generation
    }

    /// How a new connection ends before anything passes.
    pub(super) fn at_accept(&mut self) -> Option<(End, FaultKind)> {
        let fault = self.choice.fault.as_ref()?;
        let (end, moment) = ending(fault)?;
        let at_once = matches!(moment, Moment::AtOnce | Moment::Bytes(_, 0));
        let kind = fault.kind();
        (at_once && self.take()).then_some((end, kind))
    }

    /// Decides what becomes of what was read.
    pub(super) fn judge(&mut self, direction: Direction, piece: &[u8]) -> Verdict {
        let verdict = self.verdict(direction, piece);
        let passed = match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToClient => &mut self.to_client,
        };
        *passed += u64::try_from(verdict.pass).unwrap();
        verdict
    }

    fn verdict(&mut self, direction: Direction, piece: &[u8]) -> Verdict {
        let Some(fault) = self.choice.fault.clone() else {
            return Verdict::all(piece);
        };
        match &fault {
            Fault::Delay(time) => self.go_on(&fault, Pace::Late(*time), piece),
            Fault::Trickle {
                direction: slow,
                bytes,
                every,
            } if *slow == direction => {
                let (bytes, every) = (*bytes, *every);
                self.go_on(&fault, Pace::Trickle { bytes, every }, piece)
            }
            Fault::Trickle { .. } => Verdict::all(piece),
            Fault::HalfAnswer(text) => {
                let pass = self.half_answer(text, direction, piece);
                self.end_after(pass, End::Cut, &fault, piece)
            }
            Fault::Cut(_) | Fault::Reset(_) | Fault::Stall(_) => {
                let (end, moment) = ending(&fault).unwrap();
                let pass = self.until(moment, direction, piece);
                self.end_after(pass, end, &fault, piece)
            }
        }
    }

    /// A fault that changes how everything passes.
    fn go_on(&mut self, fault: &Fault, pace: Pace, piece: &[u8]) -> Verdict {
        let first = !self.begun;
        if first && !self.take() {
            return Verdict::all(piece);
        }
        self.begun = true;
        Verdict {
            pace,
            happened: first.then_some(fault.kind()),
            ..Verdict::all(piece)
        }
    }

    fn end_after(&mut self, pass: Option<usize>, end: End, fault: &Fault, piece: &[u8]) -> Verdict {
        match pass {
            Some(pass) if self.take() => Verdict {
                pass,
                pace: Pace::AtOnce,
                end: Some(end),
                happened: Some(fault.kind()),
            },
            _ => Verdict::all(piece),
        }
    }

    /// Whether the fault may happen. Once it may not, this connection is left alone.
    fn take(&mut self) -> bool {
        let may = self.choice.budget.take();
        if !may {
            self.choice.fault = None;
        }
        may
    }

    /// How much of a piece passes before the moment comes; none when it does not come in it.
    fn until(&mut self, moment: &Moment, direction: Direction, piece: &[u8]) -> Option<usize> {
        let (passed, to_server) = match direction {
            Direction::ToServer => (self.to_server, true),
            Direction::ToClient => (self.to_client, false),
        };
        match moment {
            Moment::AtOnce => Some(0),
            Moment::Bytes(counted, bytes) if *counted == direction => {
                let left = usize::try_from(bytes.saturating_sub(passed)).unwrap();
                (left <= piece.len()).then_some(left)
            }
            Moment::Bytes(..) => None,
            Moment::Request(text) => (to_server && self.finds(text, piece)).then_some(0),
            Moment::Answer(text) if to_server => {
                self.asked |= self.finds(text, piece);
                None
            }
            Moment::Answer(_) => self.asked.then_some(0),
        }
    }

    fn half_answer(&mut self, text: &str, direction: Direction, piece: &[u8]) -> Option<usize> {
        if direction == Direction::ToServer {
            self.asked |= self.finds(text, piece);
            return None;
        }
        if !self.asked {
            return None;
        }
        let before = self.answer.passed;
        self.answer.passed += piece.len();
        if self.answer.target.is_none() {
            self.answer.head.extend_from_slice(piece);
            self.answer.target = middle(&self.answer.head);
        }
        let target = self.answer.target?;
        (target <= self.answer.passed).then(|| target.saturating_sub(before))
    }

    /// Whether a text ends in this piece.
    fn finds(&mut self, text: &str, piece: &[u8]) -> bool {
        self.tail.extend_from_slice(piece);
        let text = text.as_bytes();
        let found = text.is_empty() || self.tail.windows(text.len()).any(|window| window == text);
        let kept = self.tail.len().min(text.len().saturating_sub(1));
        self.tail.drain(..self.tail.len() - kept);
        found
    }
}

fn ending(fault: &Fault) -> Option<(End, &Moment)> {
    match fault {
        Fault::Cut(moment) => Some((End::Cut, moment)),
        Fault::Reset(moment) => Some((End::Reset, moment)),
        Fault::Stall(moment) => Some((End::Stall, moment)),
        Fault::HalfAnswer(_) | Fault::Delay(_) | Fault::Trickle { .. } => None,
    }
}

/// How much of an answer is half of it, once its head is there.
fn middle(answer: &[u8]) -> Option<usize> {
    const END: &[u8] = b"\r\n\r\n";
    let head = answer.windows(END.len()).position(|end| end == END)? + END.len();
    let text = String::from_utf8_lossy(&answer[..head]).to_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|length| length.trim().parse::<usize>().ok());
    Some(match length {
        Some(0) => head / 2,
        Some(length) => head + length / 2,
        None => head,
    })
}

#[cfg(test)]
mod tests {
    use super::super::shared::Budget;
    use super::*;

    fn course(fault: Fault) -> Course {
        Course::new(Choice {
            generation: 0,
            fault: Some(fault),
            budget: Budget::unlimited(),
        })
    }

    fn judged(course: &mut Course, direction: Direction, piece: &[u8]) -> (usize, Option<End>) {
        let verdict = course.judge(direction, piece);
        (verdict.pass, verdict.end)
    }

    #[test]
    fn bytes_are_counted_in_their_own_direction_to_the_byte() {
        let mut course = course(Fault::Cut(Moment::Bytes(Direction::ToClient, 5)));
        assert_eq!(
            judged(&mut course, Direction::ToServer, b"123456789"),
            (9, None)
        );
        assert_eq!(judged(&mut course, Direction::ToClient, b"123"), (3, None));
        let end = (2, Some(End::Cut));
        assert_eq!(judged(&mut course, Direction::ToClient, b"4567"), end);
    }

    #[test]
    fn a_text_is_found_across_pieces() {
        let mut course = course(Fault::Reset(Moment::Request("/ack".to_owned())));
        assert_eq!(
            judged(&mut course, Direction::ToServer, b"POST /a"),
            (7, None)
        );
        assert_eq!(judged(&mut course, Direction::ToClient, b"/ack"), (4, None));
        let end = (0, Some(End::Reset));
        assert_eq!(judged(&mut course, Direction::ToServer, b"ck HTTP"), end);
    }

    #[test]
    fn an_answer_is_the_one_to_the_request_with_the_text() {
        let mut course = course(Fault::Stall(Moment::Answer("/ack".to_owned())));
        assert_eq!(
            judged(&mut course, Direction::ToServer, b"GET /a"),
            (6, None)
        );
        assert_eq!(judged(&mut course, Direction::ToClient, b"/ack"), (4, None));
        assert_eq!(
            judged(&mut course, Direction::ToServer, b"POST /ack"),
            (9, None)
        );
        let end = (0, Some(End::Stall));
        assert_eq!(judged(&mut course, Direction::ToClient, b"200"), end);
    }

    #[test]
    fn half_of_an_answer_passes_however_it_is_cut_into_pieces() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789";
        let half = answer.len() - 5;
        for size in 1..=answer.len() {
            let mut course = course(Fault::HalfAnswer("GET".to_owned()));
            assert_eq!(
                judged(&mut course, Direction::ToServer, b"GET /"),
                (5, None)
            );
            let mut passed = 0;
            for piece in answer.chunks(size) {
                let (pass, end) = judged(&mut course, Direction::ToClient, piece);
                passed += pass;
                if end.is_some() {
                    break;
                }
            }
            assert_eq!(passed, half, "in pieces of {size}");
        }
    }

    #[test]
    fn an_answer_without_a_body_is_cut_in_its_head() {
        let head = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n";
        let mut course = course(Fault::HalfAnswer(String::new()));
        assert_eq!(
            judged(&mut course, Direction::ToServer, b"GET /"),
            (5, None)
        );
        let end = (head.len() / 2, Some(End::Cut));
        assert_eq!(judged(&mut course, Direction::ToClient, head), end);
    }

    #[test]
    fn what_may_happen_once_happens_to_one_connection() {
        let choice = Choice {
            generation: 0,
            fault: Some(Fault::Cut(Moment::AtOnce)),
            budget: Budget::of(1),
        };
        let (mut one, mut other) = (Course::new(choice.clone()), Course::new(choice));
        assert_eq!(one.at_accept(), Some((End::Cut, FaultKind::Cut)));
        assert_eq!(other.at_accept(), None);
        assert_eq!(judged(&mut other, Direction::ToServer, b"GET /"), (5, None));
    }
}
