#!/bin/sh
# under-systemd.sh BUILT OUT: boots systemd in namespaces of its own, over this machine's files and without changing them,
# installs the units, and tries in OUT/log what an operator would. Exits with 77 where that cannot be had: it needs root,
# systemd, unshare, ip, curl, overlayfs and cgroup v2.
set -eu

built=$1 out=$2 here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
install=$here/../../../deploy/systemd/install

if [ "${3:-}" != inside ]; then
    [ "$(id -u)" = 0 ] && [ -x /usr/lib/systemd/systemd ] || exit 77
    for program in unshare ip curl; do command -v $program >/dev/null || exit 77; done
    unshare -mpfiun --kill-child --mount-proc true 2>/dev/null || exit 77
    exec timeout -k 5 90 unshare -mpfiun --kill-child --mount-proc sh "$0" "$built" "$out" inside
fi

# A root of its own: this machine's files below, what is written in memory.
mount --make-rprivate /
layers=$out/layers root=$out/layers/root
mkdir -p "$layers"
mount -t tmpfs tmpfs "$layers"
mkdir "$layers/upper" "$layers/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$layers/upper,workdir=$layers/work" "$root" || exit 77
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
mount -t cgroup2 none "$root/sys/fs/cgroup" || exit 77
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do cp -a "/dev/$device" "$root/dev/"; done
mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/mqueue" "$root/dev/hugepages"
mount -t tmpfs tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir "$root/run/out"
mount --bind "$out" "$root/run/out"

# The host: bare, but for the units.
rm -rf "$root/etc/avouch" "$root/usr/local/lib/systemd" "$root/etc/systemd/system"
mkdir -p "$root/etc/systemd/system"
"$install" --destdir "$root" "$built"
cat >"$root/etc/systemd/system/trial.target" <<'UNIT'
[Unit]
Requires=trial.service
UNIT
cat >"$root/etc/systemd/system/trial.service" <<'UNIT'
[Unit]
DefaultDependencies=no
[Service]
ExecStart=/bin/sh /run/out/trial
StandardOutput=append:/run/out/log
StandardError=append:/run/out/log
UNIT
cat >"$out/trial" <<'TRIAL'
export AVOUCH_ADMIN_SOCKET=/run/avouch-issuer/admin.sock PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ledger=avouch-market@ledger.service
step() { echo "$1: $2"; }
ready() { curl -s --retry 20 --retry-connrefused --retry-delay 1 "http://127.0.0.1:$1/readyz"; }
ip link set lo up
systemd-sysusers
systemctl daemon-reload
systemctl start systemd-journald.socket systemd-journald.service
timeout 20 systemctl start avouch-issuer.service
for name in ledger inventory payments orders reports storefront; do
    avouch token create "spiffe://market.example/$name" --register --wait 20s --out "/etc/avouch/tokens/$name"
    timeout 20 systemctl start "avouch-market@$name.service"
done
for port in 7100 7101 7102 7103 7104 7105 7106; do step "$port" "$(ready $port)"; done
systemctl reload $ledger && step reload done
rm /etc/avouch/tokens/*
systemctl restart $ledger && step restart "$(ready 7101)"
systemctl kill -s KILL $ledger
sleep 3
step killed "$(systemctl is-active $ledger), $(ready 7101)"
step capabilities "$(sed -n 's/^CapEff:\t//p' "/proc/$(systemctl show -P MainPID $ledger)/status")"
step users "$(stat -c %U /var/lib/private/avouch-market/* | sort -u | wc -l)"
journalctl --no-pager -u 'avouch*' >/run/out/journal
step trial over
systemctl exit
TRIAL

cd "$root"
mkdir old
pivot_root . old
umount -l /old
mount --make-rshared /
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /usr/lib/systemd/systemd --system --unit=trial.target --log-target=console --show-status=no </dev/null
