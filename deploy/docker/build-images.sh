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

table() { # [NAME…]: the rows that were asked for: NAME PROGRAMS PACKAGES KIND
    sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$here/images" | while read -r name programs packages kind; do
        case " ${*:-$kinds} " in
            *" $name "* | *" $kind "*) printf '%s %s %s %s\n' "$name" "$programs" "$packages" "$kind" ;;
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

build() { # WHAT PACKAGES [OPTION…]; flags instead of profile settings, so that what runs while building is shared
    what=$1
    packages=$(printf '%s\n' "$2" | tr ',' '\n' | sort -u | sed 's/^/--package=/')
    shift 2
    # shellcheck disable=SC2086  # one argument per package
    "$root/deploy/dev/step" "building $what ($profile)" \
        env RUSTFLAGS='-C target-feature=+crt-static -C debuginfo=0 -C strip=symbols' CARGO_PROFILE_DEV_OPT_LEVEL=1 \
        cargo build --quiet --locked --manifest-path "$root/Cargo.toml" --profile "$profile" --target "$triple" \
        --target-dir "$target" --bins $packages "$@"
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
        cp "$target/$triple/$output/$program" "$context/rootfs/usr/bin/$program"
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
        # The classic builder: every engine has it. It says at length that it is deprecated.
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
of_kind() { printf '%s\n' "$rows" | awk -v kind="$1" '($4 == "test-clock") == (kind == "test-clock")'; }

# Those with a feature of their own first: their programs have the names of the ordinary ones.
for kind in test-clock ordinary; do
    these=$(of_kind $kind)
    [ -n "$these" ] || continue
    packages=$(printf '%s\n' "$these" | cut -d' ' -f3)
    case $kind in
    test-clock) build "programs whose clock can be set wrong" "$packages" --features avouch-service/test-clock ;;
    *) build "static programs" "$packages" ;;
    esac
    printf '%s\n' "$these" | while read -r name programs _ kind; do
        context "$name" "$programs" "$kind"
    done
done

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
