//! Requests for process data, and their replies, in protocols of industry that have no heartbeat: what is asked for each
//! second may be constant for hours, and is a poll all the same. Told by the message's own structure, whatever the port.

/// Which part of a poll a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It asks for values.
    Request,
    /// It brings them.
    Reply,
}

/// Most coils that one request reads (MODBUS Application Protocol V1.1b3 §6.1).
const MOST_COILS: u16 = 2000;

/// The part of a poll that begins a message; `None` for any other.
#[must_use]
pub fn part(message: &[u8]) -> Option<Part> {
    modbus(message).or_else(|| s7(message))
}

/// MODBUS/TCP (Messaging on TCP/IP Implementation Guide V1.0b §3.1.3): transaction, protocol 0, length, unit; then one of
/// the functions 1 to 4, which read coils, inputs and registers (Application Protocol §6.1 to §6.4).
fn modbus(message: &[u8]) -> Option<Part> {
    let [_, _, 0, 0, high, low, _, 1..=4, data @ ..] = message else { return None };
    match (u16::from_be_bytes([*high, *low]), data) {
        (6, [_, _, high, low, ..]) if (1..=MOST_COILS).contains(&u16::from_be_bytes([*high, *low])) => {
            Some(Part::Request)
        }
        (len, [count, ..]) if *count > 0 && len == u16::from(*count) + 3 => Some(Part::Reply),
        _ => None,
    }
}

/// S7 communication as tshark's dissector has it: TPKT (RFC 1006 §6), a COTP data unit, protocol 0x32; then a job or its
/// acknowledgment with data, whose function is to read variables.
fn s7(message: &[u8]) -> Option<Part> {
    const READ: u8 = 4;
    let [3, 0, _, _, 2, 0xf0, 0x80, 0x32, kind, body @ ..] = message else { return None };
    match kind {
        1 if body.get(8) == Some(&READ) => Some(Part::Request),
        3 if body.get(10) == Some(&READ) => Some(Part::Reply),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_polls_and_other_functions_are_not() {
        // The example of the MODBUS specification, §6.3: three registers from 0x6b on.
        assert_eq!(part(b"\0\x01\0\0\0\x06\x11\x03\0\x6b\0\x03"), Some(Part::Request));
        assert_eq!(part(b"\0\x01\0\0\0\x09\x11\x03\x06\x02\x2b\0\0\0\x64"), Some(Part::Reply));
        assert_eq!(part(b"\0\x01\0\0\0\x06\x11\x06\0\x01\0\x03"), None, "a write may be a watchdog's");
        let read = b"\x03\0\0\x1f\x02\xf0\x80\x32\x01\0\0\0\x05\0\x0e\0\0\x04\x01";
        let values = b"\x03\0\0\x1a\x02\xf0\x80\x32\x03\0\0\0\x05\0\x02\0\x05\0\0\x04\x01";
        assert_eq!((part(read), part(values)), (Some(Part::Request), Some(Part::Reply)));
        assert_eq!(part(b"PING"), None);
        assert_eq!(part(b""), None);
    }
}
