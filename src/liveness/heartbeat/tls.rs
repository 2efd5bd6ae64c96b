//! Messages inside TLS: nothing shows but the records' sizes (RFC 8446 §5.1).

/// Bytes of a record's header: type, version, length.
const HEADER: usize = 5;
/// Greatest length of a record's body: 2^14 and what the oldest version may add (RFC 5246 §6.2.3).
const GREATEST: u16 = (1 << 14) + 2048;
/// The record type of application data.
const APPLICATION_DATA: u8 = 23;

/// The length of the record that begins with `head`, header included; `None` if none does.
fn record_len(head: &[u8]) -> Option<u32> {
    match head {
        [20..=24, 3, 0..=4, a, b, ..] => {
            let body = u16::from_be_bytes([*a, *b]);
            (1..=GREATEST).contains(&body).then(|| HEADER as u32 + u32::from(body))
        }
        _ => None,
    }
}

/// Whether these bytes begin a TLS record.
#[must_use]
pub fn begins_record(bytes: &[u8]) -> bool {
    record_len(bytes).is_some()
}

/// The records of one side's stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Records {
    head: [u8; HEADER],
    /// Bytes of the header that there are.
    have: u8,
    lost: bool,
    /// Bytes of the record at hand still to come, once its header is whole.
    left: u32,
}

impl Records {
    /// Takes the next captured bytes, and how many followed that were not captured; gives the length of each record of
    /// application data that they complete.
    pub fn push(&mut self, mut bytes: &[u8], cut: u32, mut on_record: impl FnMut(u32)) {
        // Where the place was lost, a segment is as likely to begin with a record as anything.
        if self.lost && begins_record(bytes) {
            *self = Records::default();
        }
        while !bytes.is_empty() && !self.lost {
            if self.left == 0 {
                let have = usize::from(self.have);
                let take = (HEADER - have).min(bytes.len());
                self.head[have..have + take].copy_from_slice(&bytes[..take]);
                self.have += take as u8;
                bytes = &bytes[take..];
                if have + take == HEADER {
                    match record_len(&self.head) {
                        Some(len) => self.left = len - HEADER as u32,
                        None => self.lost = true,
                    }
                }
            } else {
                let take = bytes.len().min(self.left as usize);
                bytes = &bytes[take..];
                self.skip(take as u32, &mut on_record);
            }
        }
        if cut > 0 && !self.lost {
            self.skip(cut, &mut on_record);
        }
    }

    /// Bytes were not captured.
    pub fn gap(&mut self) {
        self.lost = true;
    }

    /// Passes over `n` bytes of the record at hand; past its end the place is lost.
    fn skip(&mut self, n: u32, on_record: &mut impl FnMut(u32)) {
        if n > self.left {
            self.lost = true;
            return;
        }
        self.left -= n;
        if self.left == 0 {
            self.have = 0;
            if self.head[0] == APPLICATION_DATA {
                record_len(&self.head).into_iter().for_each(on_record);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_cut_over_segment_borders_and_found_again_after_a_gap() {
        let mut records = Records::default();
        let mut got = Vec::new();
        let record = [&[23, 3, 3, 0, 21][..], &[7; 21]].concat();
        let stream = [&record[..], &[22, 3, 3, 0, 1, 9], &record].concat();
        for part in stream.chunks(7) {
            records.push(part, 0, |len| got.push(len));
        }
        assert_eq!(got, [26, 26]);
        records.push(&record[..10], 16, |len| got.push(len));
        assert_eq!(got, [26, 26, 26], "the snaplen cut it, its header tells its end");
        records.gap();
        records.push(&[7; 3], 0, |len| got.push(len));
        assert_eq!(got.len(), 3);
        records.push(&record, 0, |len| got.push(len));
        assert_eq!(got.len(), 4);
    }
}
