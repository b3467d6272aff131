#!/bin/bash
# The first process of a host, inside its new namespaces: private folders, an address, sshd.
#   host.sh HOME_FOLDER IP/PREFIX GATEWAY FOLDER_WITH_KEYS NAME  (HIDE, SHOW, SHARE: folders, one a line)
set -euo pipefail
home=$1 address=$2 gateway=$3 keys=$4 name=$5
mount --make-rprivate /
hostname "$name"
declare -a hide=() show=() share=()
[ -z "$HIDE" ] || mapfile -t hide <<<"$HIDE"
[ -z "$SHOW" ] || mapfile -t show <<<"$SHOW"
[ -z "$SHARE" ] || mapfile -t share <<<"$SHARE"

# Folders are held open while those above them are hidden, then put back under their own names.
declare -A held
for folder in "${show[@]}" "${share[@]}"; do exec {fd}<"$folder"; held[$folder]=$fd; done
exec {ready}>"$home/../ready"
mount --bind "$keys/hosts" /etc/hosts
mount --bind "$keys/resolv.conf" /etc/resolv.conf
exec {key}<"$keys/hostkey"
mount --bind "$home" /root
for folder in "${hide[@]}"; do
  if [ -d "$folder" ]; then mount -t tmpfs -o mode=1777 tmpfs "$folder"; fi
done
put_back() {
  mkdir -p "$1"
  mount -c --bind "/proc/self/fd/${held[$1]}" "$1"
}
for folder in "${show[@]}"; do put_back "$folder"; mount -o remount,bind,ro "$folder"; done
for folder in "${share[@]}"; do put_back "$folder"; done

mkdir -p /run/sshd /run/lock
install -m 600 "/proc/self/fd/$key" /run/sshd/hostkey
until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
ip link set lo up
ip address add "$address" dev eth0
ip link set eth0 up
ip route add default via "$gateway"  # leads nowhere; Ray finds its own address by it
cd /
echo yes >&"$ready"
exec {ready}>&- {key}<&-
for fd in "${held[@]}"; do exec {fd}<&-; done
exec env -i PATH="$PATH" HOME=/root /usr/sbin/sshd -D -e -f /dev/null -h /run/sshd/hostkey \
  -o ListenAddress="${address%/*}" -o UsePAM=no -o PermitRootLogin=prohibit-password \
  -o StrictModes=no -o PidFile=none -o MaxStartups=100 -o MaxSessions=100
