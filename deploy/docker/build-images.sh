#!/bin/sh
# build-images.sh [--release] [--contexts] [--all | NAME…]: the images of deploy/docker/images (those of kind `service`,
# those named, or all), FROM scratch out of programs that are linked statically here. Needs a Docker Engine, its `docker`
# command, and no registry. With --contexts it stops at the build contexts, and needs no engine either.
#
# An image is avouch/NAME:TAG, where TAG is a digest of everything in it, and avouch/NAME:latest; target/images/NAME.tag
# holds the newest TAG. What has not changed is not built again; an older build of the same image is removed, unless
# AVOUCH_KEEP_IMAGES=1 says that another checkout on this machine may use it.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
here=$root/deploy/docker
target=${CARGO_TARGET_DIR:-$root/target}
stage=$target/images

profile=dev
output=debug
with_engine=yes
kinds=service
given=$*
while :; do
    case ${1:-} in
    --release) profile=release output=release ;;
    --contexts) with_engine=no ;;
    --all) kinds='service test-clock peers' ;;
    *) break ;;
    esac
    shift
done

fail() {
    printf 'build-images: %s\n' "$1" >&2
    exit 1
}

table() { # [NAME…]: the rows that were asked for: NAME PROGRAMS KIND
    sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$here/images" | while read -r name programs kind; do
        case " ${*:-$kinds} " in
            *" $name "* | *" $kind "*) printf '%s %s %s\n' "$name" "$programs" "$kind" ;;
        esac
    done
}

for wanted in "$@"; do
    [ -n "$(table "$wanted")" ] || fail "no image is called '$wanted'; see deploy/docker/images"
done

if [ $with_engine = yes ]; then
    command -v docker >/dev/null || fail "the docker command is missing"
    docker version --format '{{.Server.Version}}' >/dev/null 2>&1 || fail "no Docker Engine answers"
fi

mkdir -p "$stage"
if [ -z "${AVOUCH_IMAGES_STEP:-}" ] && command -v flock >/dev/null; then
    exec 9>"$stage/.lock"
    flock 9
fi

case $(rustc -vV | sed -n 's/^host: //p') in
    *-linux-gnu | *-linux-musl) ;;
    *) fail "static programs for containers are built on Linux only" ;;
esac

# Links programs statically, each from its source file in deploy/docker/programs.
#
# Whether a program is static is decided when it is linked: the rlibs of an ordinary build hold position-independent code,
# and the standard library's choice among libc's forms is read from its metadata at that moment. So the flag goes to the
# program's own crate alone, by `cargo rustc`, and all else is what tests and demo have built already. In RUSTFLAGS it
# would have cargo build all of it once more, and want a target triple: proc macros and build scripts cannot be static.
link() { # PROGRAMS FEATURES
    for program in $(printf '%s' "$1" | tr ',' ' '); do
        cargo rustc --quiet --locked --manifest-path "$root/Cargo.toml" --target-dir "$target" --profile "$profile" \
            --package avouch-images --features "$2" --bin "static-$program" -- \
            -C target-feature=+crt-static -C strip=symbols
    done
}

context() { # NAME PROGRAMS KIND: everything that goes into the image
    context=$stage/$1
    rm -rf "$context"
    mkdir -p "$context/rootfs/usr/bin" "$context/rootfs/etc/avouch" "$context/rootfs/run/avouch" "$context/state"
    cp "$here/Dockerfile" "$context/Dockerfile"
    [ "$3" != peers ] || sed -i '/^HEALTHCHECK/d' "$context/Dockerfile"
    printf 'avouch:x:65532:65532:avouch:/var/lib/avouch:/nonexistent\n' >"$context/rootfs/etc/passwd"
    printf 'avouch:x:65532:\n' >"$context/rootfs/etc/group"
    for program in $(printf '%s' "$2" | tr ',' ' '); do
        cp "$target/$output/static-$program" "$context/rootfs/usr/bin/$program"
    done
    ln -s "usr/bin/${2%%,*}" "$context/rootfs/entrypoint"
    chmod -R u=rwX,go=rX "$context"
    chmod 700 "$context/state"
    chmod 1777 "$context/rootfs/run/avouch" # a tmpfs that is mounted there takes this mode over
}

image() { # NAME
    context=$stage/$1
    tag=$(cd "$context" && { find . -printf '%p %m\n'; find . -type f -exec sha256sum {} +; } | LC_ALL=C sort | sha256sum | cut -c1-16)
    image=avouch/$1:$tag
    if ! docker image inspect "$image" >/dev/null 2>&1; then
        # The classic builder, which every engine has. It prints a long deprecation notice.
        DOCKER_BUILDKIT=0 docker build --quiet --build-arg "NAME=$1" --build-arg "VERSION=$version" \
            --tag "$image" "$context" >"$stage/$1.log" 2>&1 || {
            cat "$stage/$1.log" >&2
            fail "building $image"
        }
        printf '✓ image %s\n' "$image" >&2
    fi
    docker tag "$image" "avouch/$1:latest"
    printf '%s\n' "$tag" >"$stage/$1.tag"
    [ "${AVOUCH_KEEP_IMAGES:-0}" != 1 ] || return 0
    docker image ls --filter "label=dev.avouch.image=$1" --format '{{.Repository}}:{{.Tag}}' \
        | grep -v -x -e "$image" -e "avouch/$1:latest" | while read -r old; do
            docker image rm "$old" >/dev/null 2>&1 || true # in use: the next build removes it
        done
}

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml" | head -n 1)
rows=$(table "$@")

# The programs and the build contexts, image by image: two images may hold different builds of one program.
contexts() {
    printf '%s\n' "$rows" | while read -r name programs kind; do
        case $kind in
        test-clock) link "$programs" static,test-clock ;;
        *) link "$programs" static ;;
        esac
        context "$name" "$programs" "$kind"
    done
}

if [ "${AVOUCH_IMAGES_STEP:-}" = contexts ]; then # called by itself, under a step
    contexts
    exit
fi
# shellcheck disable=SC2086  # the arguments are words
AVOUCH_IMAGES_STEP=contexts "$root/deploy/dev/step" "linking static programs ($profile)" "$0" $given

[ $with_engine = yes ] || exit 0
# The engine takes seconds for each, mostly waiting.
building=
for name in $(printf '%s\n' "$rows" | cut -d' ' -f1); do
    image "$name" &
    building="$building $!"
done
for one in $building; do
    wait "$one"
done
