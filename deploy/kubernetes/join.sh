#!/bin/sh
# join.sh [--namespace NAME] [--dns NAME] [SERVICE…]: lets the pods of the market join, all of it or those services.
#
# An operator runs it: after the first `kubectl apply`, after adding replicas, and for pods that were away for longer
# than their recovery window. It needs the right to `exec` into the issuer's pod and to write Secrets; no pod has either,
# so no workload can give itself or another an identity. For each pod it registers the identity unless it is there, makes
# one token inside the issuer's pod, and puts it into the Secret SERVICE-join under the pod's name, for which the pod
# waits. Tokens go through pipes only. Each works once and ends within an hour; what stays in the Secret is worthless.
# It also registers the operator, as whom `avouch` in the issuer's pod asks the services.
#
#   --namespace NAME   where the market is (avouch-demo)
#   --dns NAME         what shoppers call the storefront, for its certificate (localhost, for `kubectl port-forward`)
#
# KUBECTL names another kubectl; which cluster is kubectl's own business.
set -eu

kubectl=${KUBECTL:-kubectl}
namespace=avouch-demo
dns=localhost
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
trust_domain=$(sed -n 's/^trust_domain = "\(.*\)"$/\1/p' "$here/base/issuer.toml")

fail() {
    printf 'join: %s\n' "$1" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
    --namespace | --dns)
        [ $# -ge 2 ] || fail "$1 needs a value"
        case $1 in
        --namespace) namespace=$2 ;;
        --dns) dns=$2 ;;
        esac
        shift 2
        ;;
    -*) fail "there is no option $1; see the head of this file" ;;
    *) break ;;
    esac
done
[ $# -gt 0 ] || set -- inventory ledger payments orders reports storefront

k() { "$kubectl" --namespace "$namespace" "$@"; }

avouch() { k exec issuer-0 -- /usr/bin/avouch "$@"; }

register_operator() { # unless it is registered
    avouch entry show "spiffe://$trust_domain/operator" >/dev/null 2>&1 && return
    said=$(avouch entry add "spiffe://$trust_domain/operator" --ttl 10m 2>&1) || fail "no entry for the operator: $said"
}

token() { # SERVICE
    set -- "spiffe://$trust_domain/$1" "$1"
    case $2 in
    storefront) set -- "$1" --dns "$dns" ;;
    *) set -- "$1" ;;
    esac
    avouch token create "$@" --register --ttl 1h --wait 30s
}

secret() { # SERVICE: the document
    replicas=$(k get statefulset "$1" --output 'jsonpath={.spec.replicas}') || return
    cat <<DOCUMENT
apiVersion: v1
kind: Secret
metadata:
  name: $1-join
  labels: {app.kubernetes.io/name: $1, app.kubernetes.io/part-of: market}
type: Opaque
stringData:
DOCUMENT
    pod=0
    while [ "$pod" -lt "$replicas" ]; do
        made=$(token "$1") || return
        printf '  %s-%s: %s\n' "$1" "$pod" "$made"
        pod=$((pod + 1))
    done
}

k rollout status statefulset/issuer --timeout=5m >/dev/null || fail "the issuer is not ready in namespace $namespace"
register_operator
for service in "$@"; do
    document=$(secret "$service") || fail "no token for $service"
    # Applied by the server: kubectl would keep a copy of the token in an annotation.
    printf '%s\n' "$document" | k apply --server-side --force-conflicts --field-manager=join --filename - >/dev/null \
        || fail "no Secret for $service"
    printf '✓ %s may join\n' "$service"
done
for service in "$@"; do
    # A pod that has waited looks again within two minutes.
    k rollout status "statefulset/$service" --timeout=5m >/dev/null || fail "$service is not ready"
    printf '✓ %s is ready\n' "$service"
done
