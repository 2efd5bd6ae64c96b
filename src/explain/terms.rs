//! The words of the report, each with its meaning, its remedy and its sources.

use super::{Place, Term};

const fn term(
    place: Place,
    word: &'static str,
    means: &'static str,
    remedy: &'static str,
    sources: &'static [&'static str],
) -> Term {
    Term { word, place, means, remedy, sources }
}

const KEEPALIVE_RFC: &str = "RFC 9293 §3.8.4, TCP keep-alives";
const KEEPALIVE_LINUX: &str = "Linux net/ipv4/tcp_timer.c, tcp_keepalive_timer()";
const KEEPALIVE_MAN: &str = "tcp(7): TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT; socket(7): SO_KEEPALIVE";
const RETRIES2: &str = "Linux Documentation/networking/ip-sysctl.rst, tcp_retries2";
const WRITE_TIMEOUT: &str = "Linux net/ipv4/tcp_timer.c, tcp_write_timeout()";
const USER_TIMEOUT: &str = "tcp(7): TCP_USER_TIMEOUT; RFC 5482";
const RESET: &str = "RFC 9293 §3.5.2, reset generation";
const HALF_OPEN: &str = "RFC 9293 §3.5.1, half-open connections";
const WINDOW: &str = "RFC 9293 §3.8.6.1, zero-window probing";
const RTO: &str = "RFC 6298, computing TCP's retransmission timer";
const LIMITS: &str = "data/idle-timeouts.toml, each row with the document that states it";

/// Every word that the report uses; findings and mechanisms in the order of their definition.
pub const TERMS: &[Term] = &[
    term(
        Place::Finding,
        "no_liveness",
        "The connection is open, was idle for a minute or more, and if either side died in silence (power, cable, crash \
         of the host, a firewall that drops), the other would never know: it sends no keepalive probes, no regular data, \
         and expects no heartbeat. Such connections pile up in servers as sessions of the dead.",
        "Turn on keepalive on at least the side that holds resources: SO_KEEPALIVE with TCP_KEEPIDLE 60, TCP_KEEPINTVL \
         10, TCP_KEEPCNT 6 notices within two minutes. Or use the protocol's own heartbeat, with replies.",
        &[KEEPALIVE_RFC, KEEPALIVE_MAN],
    ),
    term(
        Place::Finding,
        "one_sided_liveness",
        "One side would notice the other's death, but not the other way round. Probes and one-way heartbeats tell only \
         one side: a probe tells its sender that the peer answers; that probes stop coming alarms nobody.",
        "Turn on keepalive on the other side too; it is set on each socket of its own. Or make the heartbeat go both \
         ways, or be answered and be missed by the one who answers.",
        &[KEEPALIVE_RFC, KEEPALIVE_MAN],
    ),
    term(
        Place::Finding,
        "slow_detection",
        "A dead peer was noticed, or would be, only after more than five minutes: longer than common load balancers and \
         NATs remember a silent connection. Linux' defaults make two hours and eleven minutes of keepalive \
         (7200 s + 9 × 75 s), and about a quarter of an hour of retransmissions (tcp_retries2 = 15).",
        "Keepalive: lower TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT on the socket. Data in flight: set \
         TCP_USER_TIMEOUT, or lower net.ipv4.tcp_retries2. Heartbeats: a shorter interval, or fewer misses allowed.",
        &[KEEPALIVE_LINUX, RETRIES2, USER_TIMEOUT],
    ),
    term(
        Place::Finding,
        "half_open",
        "One side holds, or held, a connection that the other no longer knows. Either a reset told it in the end (its \
         probe or its data met a host that had rebooted, or a box that had forgotten the connection), or nobody told it: \
         its peer is gone and it still waits.",
        "Turn on keepalive on the side that was left, so that it asks before it needs an answer. If the host did not \
         restart, look for a box on the way: see idle_timeout_hit.",
        &[HALF_OPEN, RESET],
    ),
    term(
        Place::Finding,
        "keepalive_suppressed",
        "Keepalive was on and did not help: Linux sends no probes while data is unacknowledged, for the data itself is \
         being resent and serves as the probe. Then the retransmission limit decides, by default after 924.6 s at least: \
         the quarter of an hour that surprises people who set keepalive to seconds.",
        "Set TCP_USER_TIMEOUT (milliseconds) on the socket to idle + interval × count of its keepalive: it ends data in \
         flight and probes alike.",
        &[KEEPALIVE_LINUX, WRITE_TIMEOUT, RETRIES2, USER_TIMEOUT],
    ),
    term(
        Place::Finding,
        "probes_unanswered_data_answered",
        "None of a side's probes was answered, and yet the peer sent later: it lives. Its stack, a firewall or a capture \
         in the wrong place eats probes or their answers. With such a peer keepalive ends healthy connections.",
        "Find what drops segments with a sequence number below the window (stateful firewalls with strict sequence \
         checks do), or turn keepalive off there and use a heartbeat of the application.",
        &[KEEPALIVE_RFC, "RFC 9293 §3.10.7.4: an unacceptable segment is answered by an acknowledgment"],
    ),
    term(
        Place::Finding,
        "idle_timeout_risk",
        "The connection was silent for longer than known load balancers, NATs, firewalls or proxies remember one. None \
         of them is on this path, or it would have broken; on another path it would break.",
        "Send something more often than the shortest limit on your paths: TCP_KEEPIDLE below it. Proxies that end TCP \
         themselves answer probes and count only payload: there a heartbeat of the application is needed.",
        &[LIMITS, "RFC 5382 §5: NATs keep idle connections for 2 h 4 min at least (many do not)"],
    ),
    term(
        Place::Finding,
        "idle_timeout_hit",
        "The connection broke in a silence whose length fits the idle timeout of a known box, and in the way that box \
         breaks connections: by a reset at the next packet, a reset or a FIN when the time is up, or by silence.",
        "Send something more often: TCP_KEEPIDLE below the limit, or a heartbeat where the box counts payload only. Or \
         raise the limit on the box.",
        &[LIMITS],
    ),
    term(
        Place::Finding,
        "declared_differs_from_observed",
        "In the protocol's handshake a side announced to send at least so often (MQTT's keep alive, AMQP's heartbeat, \
         BGP's hold time), and then was silent for longer. Its peer may end the connection for it.",
        "Look at why the sender was late: a blocked event loop, a garbage collection, a client library that sends \
         heartbeats only between other work.",
        &["MQTT 5.0 §3.1.2.10; AMQP 0-9-1 §4.2.7; RFC 4271 §4.4"],
    ),
    term(
        Place::Finding,
        "heartbeat_irregular",
        "More than one beat in twenty did not come when its rhythm, as seen, made it due, and yet nobody took the sender \
         for dead. Either its sender stalls, or packets are lost.",
        "Retransmissions beside it speak of the network, none of the sender's own scheduling. Do not set the peer's \
         patience below the gaps that occur.",
        &["hbsniff --schema: Heartbeat, interval_s (median, min, max), missed"],
    ),
    term(
        Place::Finding,
        "peer_stalled",
        "A side's receive window stayed closed while the other probed it: the host answers, the application does not \
         read. The connection is alive, the work on it is not; keepalive can never notice, for the kernel answers.",
        "Look at the reader: blocked, swapped out, or waiting for this very peer. A sender that must not wait needs a \
         time-out of its own, or TCP_USER_TIMEOUT.",
        &[WINDOW, "Linux net/ipv4/tcp_timer.c, tcp_probe_timer()"],
    ),
    term(
        Place::Finding,
        "capture_has_duplicates",
        "The capture holds segments more than once: taken on two interfaces, on a mirror port of both directions, or on \
         `any`. The copies were left out of every count.",
        "Capture on one interface, or let the mirror port copy one direction only.",
        &["RFC 2883: a receiver's D-SACK tells a second arrival from a second copy in the capture"],
    ),
    term(
        Place::Finding,
        "capture_has_gaps",
        "Bytes were acknowledged that the capture does not hold: it lost packets, or saw one direction or one of \
         several paths. A silence or an unanswered probe may be the capture's. As a warning: the kernel told that it \
         dropped packets while a side went unanswered, so that a death was not told.",
        "Enlarge the buffer (--buffer-size, tcpdump -B), keep less of each packet (-s 128), and capture where both \
         directions pass.",
        &["RFC 9293 §3.4: an acknowledgment covers only what arrived"],
    ),
    term(
        Place::Finding,
        "socket_differs",
        "With --sockets this host's kernel was asked too, and what it says of a socket is not what its packets show: other \
         keepalive settings, keepalive off while probes are seen, no probe when one was due, or probes that it holds for \
         unanswered while the capture shows their answers.",
        "The program may set its socket's options late or more than once: look there first. Answers that the capture shows and \
         the kernel misses are dropped after the capture, as a firewall of this host does. Else something on the way probes in \
         the host's name.",
        &["sock_diag(7); ss(8), --options; pidfd_getfd(2)", KEEPALIVE_MAN],
    ),
    term(
        Place::Mechanism,
        "keepalive_timeout",
        "The detector's keepalive probes went unanswered as often as its count allows (or until TCP_USER_TIMEOUT), and \
         it gave up; Linux then sends a reset, which marks the moment. From the last packet heard it takes idle + \
         interval × count.",
        "If that took too long, lower TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT. The dead side, or the path to it, is \
         what to repair.",
        &[KEEPALIVE_LINUX, KEEPALIVE_MAN],
    ),
    term(
        Place::Mechanism,
        "keepalive_reset",
        "A keepalive probe was answered by a reset: the host is there and does not know the connection. It restarted, or \
         a load balancer or NAT on the way has forgotten the connection and answers so.",
        "A host that restarted needs nothing. For a box that forgot, probe more often than its idle timeout.",
        &[RESET, KEEPALIVE_RFC],
    ),
    term(
        Place::Mechanism,
        "retransmission_timeout",
        "Data was resent with doubled pauses until the limit of retransmissions (Linux' tcp_retries2, 15 by default: \
         924.6 s at least) or TCP_USER_TIMEOUT. Linux gives up without a packet, so the moment is computed from the \
         backoff and has an uncertainty.",
        "Set TCP_USER_TIMEOUT on the socket; keepalive does nothing while data is in flight.",
        &[WRITE_TIMEOUT, RETRIES2, RTO, USER_TIMEOUT],
    ),
    term(
        Place::Mechanism,
        "zero_window_timeout",
        "The peer had closed its window, and probes of it went unanswered until the same limit as for data. While such \
         probes are answered, however late the window opens, the peer lives: see peer_stalled.",
        "Set TCP_USER_TIMEOUT on the socket.",
        &[WINDOW, "Linux net/ipv4/tcp_timer.c, tcp_probe_timer()"],
    ),
    term(
        Place::Mechanism,
        "heartbeat_timeout",
        "The application gave up: a heartbeat or the reply to one was overdue, and it closed or reset the connection. The \
         peer's host may be well and only the process hung.",
        "If it was wrong, allow more misses or a longer interval; if it was late, fewer.",
        &["the protocol's own rule, named by the death's clock"],
    ),
    term(
        Place::Mechanism,
        "reset_on_data",
        "Data was answered by a reset: the peer no longer knows the connection. Its host restarted, its process is gone \
         and the FIN was lost, or a box on the way has forgotten the connection.",
        "The sender had no way to know before it spoke. Keepalive or a heartbeat would have told it while idle.",
        &[RESET, HALF_OPEN],
    ),
    term(
        Place::Mechanism,
        "icmp_unreachable",
        "A router or host said by ICMP that the peer cannot be reached, and the connection ended. Linux takes the error \
         as advice only: it keeps trying and reports the error (EHOSTUNREACH) in place of ETIMEDOUT when it gives up.",
        "The router that sent the error knows which route or host is gone.",
        &["RFC 9293 §3.9.2.2, ICMP messages", "Linux net/ipv4/tcp_ipv4.c, tcp_v4_err()"],
    ),
    term(
        Place::Mechanism,
        "undetected",
        "The peer is gone and nobody had noticed when the capture ended: one side was removed or replaced, and the other \
         still holds the connection and sends nothing that could fail.",
        "Turn on keepalive or heartbeats on the side that is left; see half_open.",
        &[HALF_OPEN],
    ),
    term(
        Place::Exposure,
        "keepalive",
        "If this side died now, the other's keepalive probes would go unanswered, and it would notice at worst after \
         idle + interval × count. Data in flight at that moment takes the retransmission limit instead.",
        "",
        &[KEEPALIVE_RFC, KEEPALIVE_LINUX],
    ),
    term(
        Place::Exposure,
        "heartbeat",
        "If this side died now, the other would miss a beat or a reply. How many misses it allows is known where the \
         protocol says so, and assumed elsewhere, as the note tells.",
        "",
        &["the protocol's own rule, named in the note"],
    ),
    term(
        Place::Exposure,
        "retransmission",
        "If this side died now, the other's next regular data would stay unacknowledged, and be resent until the limit: \
         a quarter of an hour by Linux' default.",
        "Set TCP_USER_TIMEOUT, or turn on keepalive beside it for the pauses.",
        &[WRITE_TIMEOUT, RETRIES2],
    ),
    term(
        Place::Exposure,
        "none",
        "If this side died now, the other would never know: it sends nothing that would go unanswered and waits for \
         nothing that would be missed.",
        "Turn on keepalive, or heartbeats that expect replies, on the other side.",
        &[KEEPALIVE_RFC],
    ),
    term(
        Place::Basis,
        "observed",
        "A packet marks the moment (a reset, a FIN), or every figure was seen on the wire.",
        "",
        &["hbsniff --schema: basis"],
    ),
    term(
        Place::Basis,
        "inferred",
        "The side gave up without a packet, as Linux does on data in flight; the moment is computed from the doubling of \
         its pauses and can be off by uncertainty_s.",
        "",
        &[WRITE_TIMEOUT, RTO],
    ),
    term(
        Place::Basis,
        "capture_ended",
        "The capture ended while the side was still trying: when it gave up is not known.",
        "Capture for longer: 20 minutes after the last answer show what Linux' defaults do with data in flight.",
        &[RETRIES2],
    ),
    term(
        Place::Basis,
        "declared",
        "The protocol's handshake announced the figure, and nothing on the wire has tried it yet.",
        "",
        &["hbsniff --schema: Heartbeat, declared_s"],
    ),
    term(
        Place::Basis,
        "assumed",
        "A default of the stack or the protocol stands in for a figure that was not seen; the note says which.",
        "Capture until a probe or a beat goes unanswered, or read the settings on the host: ss -o shows the timer.",
        &[RETRIES2, KEEPALIVE_MAN],
    ),
    term(Place::Event, "flow_start", "The first packet of a connection.", "", &["RFC 9293 §3.5"]),
    term(
        Place::Event,
        "flow_end",
        "Both sides closed, one reset, a side gave up on the other, or the capture ended (end: open).",
        "",
        &["RFC 9293 §3.6"],
    ),
    term(
        Place::Event,
        "keepalive_probe",
        "A segment with nothing new, or one byte of garbage, just below the next sequence number: it asks for nothing but \
         an acknowledgment. One-byte retransmissions and probes of a closed window look alike and are told apart.",
        "",
        &[KEEPALIVE_RFC, "Linux net/ipv4/tcp_output.c, tcp_xmit_probe_skb()"],
    ),
    term(
        Place::Event,
        "keepalive_ack",
        "The answer to a keepalive probe: the peer's kernel lives and knows the connection. Of the application it says \
         nothing.",
        "",
        &["RFC 9293 §3.10.7.4"],
    ),
    term(Place::Event, "zero_window_probe", "A probe of a closed window: may I send again?", "", &[WINDOW]),
    term(Place::Event, "zero_window_ack", "The answer to such a probe.", "", &[WINDOW]),
    term(
        Place::Event,
        "retransmission",
        "Bytes that were sent before: an acknowledgment is missing.",
        "",
        &["RFC 9293 §3.8.1", RTO],
    ),
    term(
        Place::Event,
        "heartbeat",
        "A message of the application that says only that its sender lives, known by its protocol or by its rhythm.",
        "",
        &["hbsniff --schema: Heartbeat, protocol, confidence"],
    ),
    term(
        Place::Event,
        "heartbeat_reply",
        "The answer to a heartbeat: the peer's application lives.",
        "",
        &["hbsniff --schema: Heartbeat, replies"],
    ),
    term(
        Place::Event,
        "heartbeat_missed",
        "A beat was due by its rhythm and did not come; frame is null, for no packet marks it.",
        "",
        &["hbsniff --schema: Heartbeat, missed"],
    ),
    term(
        Place::Event,
        "peer_dead",
        "A side took the other for dead, or should have: the event holds who, how, when, and how sure that is.",
        "",
        &["hbsniff --schema: Death"],
    ),
];
