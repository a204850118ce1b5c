#!/usr/bin/env bash
# An agent that follows a script, as a full-screen program does: it clears the screen and draws all of it anew.
#
#   scripted_agent.sh SCRIPT
#
# Each line of the script is EXPECTED|MILLISECONDS|RESPONSE: what it is told, how long it thinks, what it answers (with \n for a new
# line). Without EXPECTED it speaks unasked. It fails if it is told something else, and idles after the script.
trap 'exit 0' INT
history=()
draw() {
    printf '\e[2J\e[H'
    [ ${#history[@]} = 0 ] || printf '%b\n' "${history[@]}"
    printf '%s' "$1"
}
while IFS='|' read -r expected think response <&3; do
    if [ -n "$expected" ]; then
        draw '> '
        read -r told
        [ "$told" = "$expected" ] || { echo "expected $expected, was told $told" && exit 1; }
        history+=("> $told")
    fi
    for ((spent = 0; spent < think; spent += 200)); do
        draw "Thinking... $spent"
        read -rt 0.2 _
    done
    history+=("$response")
done 3<"$1"
draw '> '
while read -r _; do :; done
