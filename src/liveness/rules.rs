//! When a protocol takes its peer for dead: how long after the last beat, or after a beat that drew no reply.
//!
//! The figures are those of the protocols' specifications or of their usual implementations; who configured others can
//! be slower or quicker, so only a rule that rests on what the handshake announced counts as more than assumed.

use self::Wait::{Announced, Fixed, Intervals, Reply};
use crate::summary::{Both, Ground, HeartbeatSummary, Mode, Side};

/// A waiting time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wait {
    /// So many times what the handshake announced; without that, of the interval seen.
    Announced(f64),
    /// So many intervals.
    Intervals(f64),
    /// A fixed time after the last beat, seconds.
    Fixed(f64),
    /// An interval until the next beat goes out, and then so long for its reply, seconds.
    Reply(f64),
}

/// How one protocol judges.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    protocol: &'static str,
    /// Which of the protocol's beats it is about, where it has several.
    mode: Option<Mode>,
    /// The receiver of beats, when none comes.
    beat: Option<Wait>,
    /// The sender of beats, when no reply comes.
    reply: Option<Wait>,
    /// The rule in words.
    words: &'static str,
}

const fn rule(protocol: &'static str, beat: Option<Wait>, reply: Option<Wait>, words: &'static str) -> Rule {
    Rule { protocol, mode: None, beat, reply, words }
}

/// By protocol name as the heartbeat table has it.
const RULES: &[Rule] = &[
    // MQTT 3.1.1 [MQTT-3.1.2-24]: one and a half times the keep alive. mosquitto's clients wait a keep alive for PINGRESP.
    rule("mqtt", Some(Announced(1.5)), Some(Intervals(2.0)), "MQTT's rule of 1.5 keep alives"),
    // RabbitMQ, heartbeats guide: the peer is unreachable after two missed heartbeats.
    rule("amqp", Some(Announced(2.0)), None, "AMQP's rule of two missed heartbeats"),
    // AMQP 1.0 §2.4.5 advises to announce half of the own limit.
    rule("amqp10", Some(Announced(2.0)), None, "AMQP 1.0's rule of twice the announced time-out"),
    // RFC 4271 §4.2: the hold time, the lesser of those that the OPEN messages announce.
    rule("bgp", Some(Announced(1.0)), None, "BGP's hold time"),
    // RFC 5036 §2.5.6.
    rule("ldp", Some(Announced(1.0)), None, "LDP's keepalive time"),
    // RFC 3618's HoldTime-Period; FRR's default.
    rule("msdp", Some(Fixed(75.0)), None, "MSDP's hold time of 75 s"),
    // RFC 3539 §3.4.1: Tw until the request, Tw until suspect, Tw until closed.
    rule("diameter", Some(Intervals(3.0)), Some(Intervals(3.0)), "Diameter's watchdog of three intervals"),
    // QuickFIX/J: disconnects after 2.4 heartbeat intervals.
    rule("fix", Some(Announced(2.4)), Some(Intervals(2.4)), "the usual FIX rule of 2.4 heartbeat intervals"),
    // IEC 60870-5-104: t1 = 15 s.
    rule("iec104", None, Some(Reply(15.0)), "IEC 104's t1 of 15 s"),
    // STOMP 1.2 leaves a margin of error; Spring takes three times.
    rule("stomp", Some(Announced(3.0)), None, "the usual STOMP margin of three intervals"),
    // python websockets waits 20 s for a pong.
    rule("websocket", None, Some(Reply(20.0)), "the usual wait of 20 s for a pong"),
    // Engine.IO 4: pingInterval, then pingTimeout of 20 s, on both sides.
    rule("socketio", Some(Reply(20.0)), Some(Reply(20.0)), "Engine.IO's ping timeout of 20 s"),
    // SockJS: 10 s for a pong.
    rule("sockjs", None, Some(Reply(10.0)), "SockJS' wait of 10 s"),
    // SignalR HubProtocol: twice the interval, both ends.
    rule("signalr", Some(Intervals(2.0)), None, "SignalR's rule of two intervals"),
    // Phoenix: the client at its next beat, the server 60 s after the last data.
    rule("phoenix", Some(Fixed(60.0)), Some(Intervals(2.0)), "Phoenix' rule"),
    // gRPC: keepalive timeout of 20 s (gRFC A8).
    rule("http2", None, Some(Reply(20.0)), "gRPC's keepalive timeout of 20 s"),
    // NATS: two pings outstanding when the next falls due.
    rule("nats", None, Some(Intervals(3.0)), "NATS' rule of two unanswered pings"),
    // Redis: repl-timeout of 60 s on both ends of a replication link.
    Rule { mode: Some(Mode::OneWay), ..rule("redis", Some(Fixed(60.0)), None, "Redis' repl-timeout of 60 s") },
    // InspIRCd: the previous PING is still open when the next falls due.
    rule("irc", None, Some(Intervals(2.0)), "the usual IRC rule of one unanswered PING"),
    // wal_sender_timeout and wal_receiver_timeout, both 60 s.
    rule("postgres", Some(Fixed(60.0)), Some(Fixed(60.0)), "PostgreSQL's replication timeout of 60 s"),
    // session.timeout.ms of 45 s.
    rule("kafka", Some(Fixed(45.0)), None, "Kafka's session timeout of 45 s"),
    // A client pings each third of the session timeout and gives up at two thirds.
    rule("zookeeper", Some(Intervals(3.0)), Some(Intervals(2.0)), "ZooKeeper's session timeout of three intervals"),
    // DataStax driver: heartbeat timeout of 5 s.
    rule("cassandra", None, Some(Reply(5.0)), "the Cassandra driver's wait of 5 s"),
    // yamux: connection write timeout of 10 s.
    rule("yamux", None, Some(Reply(10.0)), "yamux' wait of 10 s"),
    rule("dubbo", Some(Intervals(3.0)), Some(Intervals(3.0)), "Dubbo's rule of three intervals"),
    rule("rocketmq", Some(Fixed(120.0)), None, "RocketMQ's channel expiry of 120 s"),
    // Open vSwitch: a second interval without an answer.
    rule("openflow", None, Some(Intervals(2.0)), "Open vSwitch's rule of one unanswered echo"),
    rule("ovsdb", None, Some(Intervals(2.0)), "OVSDB's rule of one unanswered echo"),
    // OpenSSH: ClientAliveCountMax and ServerAliveCountMax of 3.
    rule("ssh", None, Some(Intervals(4.0)), "OpenSSH's rule of three unanswered requests"),
    rule("skinny", None, Some(Intervals(3.0)), "Skinny's rule of three intervals"),
    rule("smb2", None, Some(Intervals(3.0)), "the Linux SMB client's rule of three intervals"),
    rule("rtmp", None, Some(Reply(30.0)), "the RTMP ping timeout of 30 s"),
    rule("openvpn", Some(Fixed(60.0)), None, "OpenVPN's ping-restart of 60 s"),
    // kernel(6), net_ticktime: 60 s, 45 to 75 s in effect; a tick is a quarter of it.
    rule("erlang", Some(Intervals(5.0)), None, "Erlang's net_ticktime"),
    // net.h: TIMEOUT_INTERVAL of 20 minutes.
    rule("bitcoin", None, Some(Reply(1200.0)), "Bitcoin's timeout of 20 min"),
];

/// Intervals after which an application is taken to miss a beat where no rule is known.
pub const MISSED_ASSUMED: f64 = 3.0;

/// The words of a patience without a rule.
pub const UNKNOWN: &str = "three intervals, no rule being known";

/// How long a side waits before it takes the other for dead by its heartbeat.
#[derive(Clone, Debug, PartialEq)]
pub struct Patience {
    /// At worst, from the last sign of life, seconds.
    pub seconds: f64,
    /// What it rests on.
    pub ground: Ground,
    /// The rule in words.
    pub words: &'static str,
}

/// How soon `watcher` notices by this heartbeat that the other side is dead; `None` where the heartbeat tells it nothing.
#[must_use]
pub fn patience(beat: &HeartbeatSummary, watcher: Side) -> Option<Patience> {
    let interval = beat.interval.map(|i| i.median);
    let rule = RULES.iter().find(|r| Some(r.protocol) == beat.protocol && r.mode.is_none_or(|m| m == beat.mode));
    let (ruled, expects) = if beat.from == watcher {
        (rule.and_then(|r| r.reply), beat.mode == Mode::RequestReply)
    } else {
        (rule.and_then(|r| r.beat), beat.mode == Mode::OneWay)
    };
    // A rule of the protocol holds. Without one, the sender of a request misses its reply and the receiver of one-way
    // beats the next beat; but who is merely asked expects nothing.
    let (wait, words) = match (ruled, rule) {
        (Some(wait), Some(rule)) => (wait, rule.words),
        _ if expects => (Intervals(MISSED_ASSUMED), UNKNOWN),
        _ => return None,
    };
    let (seconds, ground) = match (wait, beat.declared_s) {
        (Announced(times), Some(announced)) => (times * announced, Ground::Declared),
        (Announced(times) | Intervals(times), announced) => (times * interval.or(announced)?, Ground::Assumed),
        (Fixed(seconds), _) => (seconds, Ground::Assumed),
        (Reply(seconds), _) => (interval? + seconds, Ground::Assumed),
    };
    // An announced 0 switches the mechanism off (MQTT, BGP, AMQP, STOMP).
    (seconds > 0.0).then_some(Patience { seconds, ground, words })
}

/// Who watches whom through these heartbeats: the quickest patience of each side.
#[must_use]
pub fn quickest(beats: &[HeartbeatSummary]) -> Both<Option<Patience>> {
    Both(Side::BOTH.map(|watcher| {
        beats.iter().filter_map(|b| patience(b, watcher)).min_by(|a, b| a.seconds.total_cmp(&b.seconds))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Time;
    use crate::summary::{BeatKind, Interval, Trigger};

    fn beat(
        protocol: Option<&'static str>,
        from: Side,
        mode: Mode,
        every: f64,
        declared_s: Option<f64>,
    ) -> HeartbeatSummary {
        HeartbeatSummary {
            from,
            protocol,
            kind: BeatKind::Heartbeat,
            mode,
            trigger: Trigger::Fixed,
            declared_s,
            count: 10,
            replies: 0,
            missed: 0,
            payload_len: (2, 2),
            sample: Vec::new(),
            interval: Some(Interval { median: every, min: every, max: every, mad: 0.0 }),
            confidence: 1.0,
            first: Time(0),
            last: Time(0),
            last_reply: None,
        }
    }

    #[test]
    fn an_mqtt_broker_waits_one_and_a_half_keep_alives() {
        let ping = beat(Some("mqtt"), Side::Client, Mode::RequestReply, 15.0, Some(60.0));
        let broker = patience(&ping, Side::Server).unwrap();
        assert_eq!((broker.seconds, broker.ground), (90.0, Ground::Declared));
        assert_eq!(patience(&ping, Side::Client).unwrap().ground, Ground::Assumed);
        let off = beat(Some("mqtt"), Side::Client, Mode::RequestReply, 15.0, Some(0.0));
        assert_eq!(patience(&off, Side::Server), None, "keep alive 0 switches it off");
    }

    #[test]
    fn who_is_merely_asked_expects_nothing() {
        let ping = beat(Some("websocket"), Side::Client, Mode::RequestReply, 20.0, None);
        assert_eq!(patience(&ping, Side::Server), None);
        assert_eq!(patience(&ping, Side::Client).unwrap().seconds, 40.0);
        let nameless = beat(None, Side::Server, Mode::OneWay, 5.0, None);
        assert_eq!(patience(&nameless, Side::Client).unwrap().seconds, 15.0);
        assert_eq!(patience(&nameless, Side::Server), None);
    }

    #[test]
    fn replication_and_health_checks_of_redis_differ() {
        let replication = beat(Some("redis"), Side::Server, Mode::OneWay, 10.0, None);
        assert_eq!(patience(&replication, Side::Client).unwrap().seconds, 60.0);
        let check = beat(Some("redis"), Side::Client, Mode::RequestReply, 30.0, None);
        assert_eq!(patience(&check, Side::Server), None);
        assert_eq!(patience(&check, Side::Client).unwrap().seconds, 90.0);
    }

    #[test]
    fn the_quickest_counts() {
        let beats = [
            beat(None, Side::Client, Mode::OneWay, 5.0, None),
            beat(Some("bgp"), Side::Client, Mode::OneWay, 3.0, Some(9.0)),
        ];
        let watch = quickest(&beats);
        assert_eq!(watch[Side::Server].as_ref().map(|p| p.seconds), Some(9.0));
        assert_eq!(watch[Side::Client], None);
    }
}
