//! Names of link types, as the tcpdump registry and `tcpdump -L` spell them.

use std::borrow::Cow;

use crate::packet::LinkType;

impl LinkType {
    /// Its short name in the registry (www.tcpdump.org/linktypes.html) without the prefix, or `LINKTYPE_` and the number.
    #[must_use]
    pub fn name(self) -> Cow<'static, str> {
        let name = match self.0 {
            0 => "NULL",
            1 => "EN10MB",
            6 => "IEEE802",
            7 => "ARCNET",
            8 => "SLIP",
            9 => "PPP",
            10 => "FDDI",
            // 12 and 14 are what RAW is called inside some systems; files should hold 101, and some hold these.
            12 | 14 | 101 => "RAW",
            50 => "PPP_SERIAL",
            51 => "PPP_ETHER",
            100 => "ATM_RFC1483",
            104 => "C_HDLC",
            105 => "IEEE802_11",
            107 => "FRELAY",
            108 => "LOOP",
            109 => "ENC",
            113 => "LINUX_SLL",
            117 => "PFLOG",
            119 => "PRISM_HEADER",
            122 => "IP_OVER_FC",
            127 => "IEEE802_11_RADIO",
            129 => "ARCNET_LINUX",
            138 => "APPLE_IP_OVER_IEEE1394",
            140 => "MTP2",
            143 => "DOCSIS",
            149 => "USER2",
            147 => "USER0",
            148 => "USER1",
            163 => "IEEE802_11_RADIO_AVS",
            165 => "BACNET_MS_TP",
            166 => "PPP_PPPD",
            187 => "BLUETOOTH_HCI_H4",
            189 => "USB_LINUX",
            192 => "PPI",
            195 => "IEEE802_15_4_WITHFCS",
            201 => "BLUETOOTH_HCI_H4_WITH_PHDR",
            204 => "PPP_WITH_DIR",
            220 => "USB_LINUX_MMAPPED",
            227 => "CAN_SOCKETCAN",
            228 => "IPV4",
            229 => "IPV6",
            230 => "IEEE802_15_4_NOFCS",
            231 => "DBUS",
            239 => "NFLOG",
            240 => "NETANALYZER",
            242 => "IPOIB",
            249 => "USBPCAP",
            253 => "NETLINK",
            258 => "PKTAP",
            271 => "VSOCK",
            276 => "LINUX_SLL2",
            290 => "ETHERNET_MPACKET",
            n => return Cow::Owned(format!("LINKTYPE_{n}")),
        };
        Cow::Borrowed(name)
    }
}
