#!/bin/sh
# build-images.sh [--release] [NAME…]: the images of deploy/docker/images (all of them, or those named), FROM scratch
# out of programs that are linked statically here. Needs a Docker Engine, its `docker` command, and no registry.
#
# An image is avouch/NAME:TAG, where TAG is a digest of everything in it; target/images/NAME.tag holds the newest TAG.
# What has not changed is not built again; an older build of the same image is removed.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
here=$root/deploy/docker
target=${CARGO_TARGET_DIR:-$root/target}
stage=$target/images

profile=dev
output=debug
if [ "${1:-}" = --release ]; then
    profile=release
    output=release
    shift
fi

fail() {
    printf 'build-images: %s\n' "$1" >&2
    exit 1
}

table() { # the rows that were asked for: NAME PROGRAMS PACKAGES
    sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$here/images" | while read -r name programs packages; do
        case " ${*:-$name} " in
            *" $name "*) printf '%s %s %s\n' "$name" "$programs" "$packages" ;;
        esac
    done
}

for wanted in "$@"; do
    [ -n "$(table "$wanted")" ] || fail "no image is called '$wanted'; see deploy/docker/images"
done

command -v docker >/dev/null || fail "the docker command is missing"
docker version --format '{{.Server.Version}}' >/dev/null 2>&1 || fail "no Docker Engine answers"

mkdir -p "$stage"
if command -v flock >/dev/null; then
    exec 9>"$stage/.lock"
    flock 9
fi

# The triple must be given: without it the flag would reach build scripts and proc macros, which cannot be static.
triple=$(rustc -vV | sed -n 's/^host: //p')
case $triple in
    *-linux-gnu | *-linux-musl) ;;
    *) fail "static programs for containers are built on Linux only; this is $triple" ;;
esac

packages=$(table "$@" | cut -d' ' -f3 | tr ',' '\n' | sort -u | sed 's/^/--package=/')

# Flags instead of profile settings: what runs while building is then the same as in any other build, and shared.
# shellcheck disable=SC2086  # one argument per package
"$root/deploy/dev/step" "building static programs ($profile)" \
    env RUSTFLAGS='-C target-feature=+crt-static -C debuginfo=0 -C strip=symbols' \
    cargo build --quiet --locked --manifest-path "$root/Cargo.toml" --profile "$profile" --target "$triple" \
    --target-dir "$target" --bins $packages

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml" | head -n 1)

table "$@" | while read -r name programs _; do
    context=$stage/$name
    rm -rf "$context"
    mkdir -p "$context/rootfs/usr/bin" "$context/rootfs/etc/avouch" "$context/rootfs/run/avouch" "$context/state"
    cp "$here/Dockerfile" "$context/Dockerfile"
    printf 'avouch:x:65532:65532:avouch:/var/lib/avouch:/nonexistent\n' >"$context/rootfs/etc/passwd"
    printf 'avouch:x:65532:\n' >"$context/rootfs/etc/group"
    for program in $(printf '%s' "$programs" | tr ',' ' '); do
        cp "$target/$triple/$output/$program" "$context/rootfs/usr/bin/$program"
    done
    ln -s "usr/bin/${programs%%,*}" "$context/rootfs/entrypoint"
    chmod -R u=rwX,go=rX "$context"
    chmod 700 "$context/state"
    chmod 1777 "$context/rootfs/run/avouch" # a tmpfs that is mounted there takes this mode over

    tag=$(cd "$context" && { find . -printf '%p %m\n'; find . -type f -exec sha256sum {} +; } | LC_ALL=C sort | sha256sum | cut -c1-16)
    image=avouch/$name:$tag
    if ! docker image inspect "$image" >/dev/null 2>&1; then
        # The classic builder: every engine has it. It says at length that it is deprecated.
        DOCKER_BUILDKIT=0 docker build --quiet --build-arg "NAME=$name" --build-arg "VERSION=$version" \
            --tag "$image" "$context" >"$stage/build.log" 2>&1 || {
            cat "$stage/build.log" >&2
            fail "building $image"
        }
        printf '✓ image %s\n' "$image" >&2
    fi
    printf '%s\n' "$tag" >"$stage/$name.tag"
    docker image ls --filter "label=dev.avouch.image=$name" --format '{{.Repository}}:{{.Tag}}' \
        | grep -v -x "$image" | while read -r old; do
            docker image rm "$old" >/dev/null 2>&1 || true # in use: the next build removes it
        done
done
