#!/usr/bin/env python3
"""Makes a PNG of what a command shows on a terminal: tmux runs it, Chromium draws its screen.

    docs/images/picture.py OUT.png COLUMNSxROWS 'KEY KEY …' COMMAND…

Keys are spelled as for tmux send-keys; '' presses none. The README's picture is of fixtures put together by mergecap:

    cd fixtures && mergecap -w /tmp/monday.pcapng {keepalive_{cut_client_detects,healthy_client,healthy_both,\
    user_timeout,lost_probe_survived,and_keystrokes},nobody_watches,data_in_flight,zero_window_stuck_reader,\
    heartbeat_request_reply,server_reboot_keepalive_reset,process_exit,midstream_healthy}/capture.pcap
    cd /tmp && picture.py tui.png 100x24 '' hbsniff --tui monday.pcapng
"""

import html
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COLORS = ["#1b1f24", "#ff6b64", "#7ccf6e", "#e6c05c", "#6ea8fe", "#d08be8", "#5cc8d6", "#d6dbe1"]
PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: #1b1f24; }}
pre {{ margin: 0; padding: 10px 12px; color: #d6dbe1; font: 15px/18px "DejaVu Sans Mono", monospace; width: max-content; }}
</style><pre>{}</pre>"""


def tmux(*args: str) -> str:
    return subprocess.run(["tmux", "-L", "picture", *args], check=True, capture_output=True, text=True).stdout


def style(codes: set[int]) -> str:
    """The CSS of SGR codes: bold, dim, underlined, reversed, and the eight colours."""
    color = next((COLORS[c % 10] for c in codes if 30 <= c <= 37), "#d6dbe1")
    rules = [f"color:{color}"]
    if 7 in codes:
        rules = ["color:#1b1f24", f"background:{color}"]
    rules += ["font-weight:bold"] * (1 in codes) + ["opacity:.55"] * (2 in codes)
    return ";".join(rules + ["text-decoration:underline"] * (4 in codes))


def to_html(screen: str) -> str:
    out, codes = [], set()
    for part in re.split(r"(\x1b\[[0-9;]*m)", screen.replace("\x0e", "").replace("\x0f", "")):
        if part.startswith("\x1b["):
            # Of 256 colours, the first eight are these.
            plain = re.sub(r"38;5;([0-7])(?![0-9])", r"3\1", part[2:-1])
            for code in (int(c or 0) for c in plain.split(";")):
                if code == 0:
                    codes = set()
                elif code == 39:
                    codes = {c for c in codes if not 30 <= c <= 37}
                elif 30 <= code <= 37:
                    codes = {c for c in codes if not 30 <= c <= 37} | {code}
                else:
                    codes = codes | {code}
        elif part:
            out.append(f'<span style="{style(codes)}">{html.escape(part)}</span>')
    return PAGE.format("".join(out))


def main() -> None:
    out, size, keys, *command = sys.argv[1:]
    columns, rows = size.split("x")
    tmux("new-session", "-d", "-x", columns, "-y", rows, "-e", "LC_ALL=C.UTF-8", *command)
    try:
        time.sleep(2)
        for key in keys.split():
            tmux("send-keys", key)
            time.sleep(0.4)
        screen = tmux("capture-pane", "-p", "-e", "-N")
    finally:
        tmux("kill-server")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        page.write_text(to_html(screen.rstrip("\n")))
        width, height = int(columns) * 9.04 + 26, int(rows) * 18 + 20
        subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--hide-scrollbars", f"--screenshot={Path(out).resolve()}",
             f"--window-size={width:.0f},{height}", page.as_uri()],
            check=True, capture_output=True,
        )


main()
