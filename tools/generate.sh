#!/usr/bin/env bash
# Generates the protobuf, gRPC, REST and OpenAPI code from distributor/*/proto, and lints the protos.
# Needs Go and Python 3 with pip. Everything it fetches goes into .cache/, at the versions pinned here and in tools/go.mod.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

# google/rpc/*.proto: buf's registry is not needed, PyPI carries the same files.
PROTOS=1.76.0 # googleapis-common-protos
if [[ ! -d .cache/protos/googleapis_common_protos-$PROTOS.dist-info ]]; then
  rm -rf .cache/protos .cache/protos.part
  mkdir -p .cache
  "${PYTHON:-python3}" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps \
    --target .cache/protos.part "googleapis-common-protos==$PROTOS"
  mv .cache/protos.part .cache/protos # by rename: an interrupted download leaves nothing that looks whole
fi

# protoc-gen-go comes from the root module, so that the generated code and the runtime it meets are of one version; the
# other generators are pinned in tools/go.mod.
bin=$root/.cache/tools
mkdir -p "$bin"
go build -o "$bin/protoc-gen-go" google.golang.org/protobuf/cmd/protoc-gen-go
(cd tools && go build -o "$bin/" \
  github.com/bufbuild/buf/cmd/buf \
  google.golang.org/grpc/cmd/protoc-gen-go-grpc \
  github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-grpc-gateway \
  github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-openapiv2)
export PATH=$bin:$PATH
export BUF_CACHE_DIR=$root/.cache/buf

buf lint
# Emptied first, so that code of a removed proto goes away too.
rm -rf distributor/api/gen distributor/mcp/gen distributor/api/openapi/*.json
buf generate
buf generate --template buf.gen.openapi.yaml
