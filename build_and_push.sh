#!/usr/bin/env bash
# Build the image and push it to Amazon ECR: build_and_push.sh [OPTION…] [NAME] [-- BUILD_OPTION…]
#
#   build_and_push.sh                                  as lesion:VERSION-COMMIT into your region
#   build_and_push.sh --region eu-central-1 moles      as moles:VERSION-COMMIT
#   build_and_push.sh --registry 127.0.0.1:5000        to another registry; docker login first, where it asks for that
#   build_and_push.sh -- --no-cache                    what follows -- goes to docker build
#
#   --region REGION          default: AWS_REGION, AWS_DEFAULT_REGION, or that of your AWS profile
#   --registry HOST[:PORT]   push there instead of to ECR; needs nothing of AWS
#   --target STAGE           build this stage of the Dockerfile, such as serve-cpu; the tag ends with its name
#   --soci                   also push a SOCI index, with which a job starts before the whole image is loaded
#   --dry-run                check everything, print the commands that would change something, run none of them
#
# The image's URI is all that comes on stdout. The list of what the image holds is written to build/sbom-TAG.cdx.json.
# Needs git, Docker and, for ECR, the AWS CLI or Python with boto3, and your credentials.

set -euo pipefail

main() {
  read_options "$@"
  cd "$(dirname "${BASH_SOURCE[0]}")"
  require_docker
  read_tag
  if [ -z "$registry" ]; then
    open_ecr
  fi
  uri=$registry/$name:$tag
  if is_pushed; then
    echo "already there, nothing to do: a tag names a commit, and is never pushed twice" >&2
    if [ "$is_soci" ] && [ "$is_ecr" ]; then
      log_in
    fi
  else
    build
    write_sbom
    if [ "$is_ecr" ]; then
      create_repository
      log_in
    fi
    run docker push "$uri"
  fi
  [ -z "$is_soci" ] || push_soci_index
  echo "$uri"
}

read_options() {
  name=lesion region='' registry='' target='' is_dry='' is_soci='' is_ecr='' build_options=()
  local has_name=''
  while [ $# -gt 0 ]; do
    case $1 in
      --help | -h)
        sed -n '2,/^$/ s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
      --dry-run) is_dry=1 ;;
      --soci) is_soci=1 ;;
      --region | --registry | --target)
        [ -n "${2-}" ] || fail "$1 wants a value"
        printf -v "${1#--}" %s "$2"
        shift
        ;;
      --)
        shift
        build_options=("$@")
        break
        ;;
      -*) fail "unknown option '$1': see $0 --help" ;;
      *)
        [ -z "$has_name" ] || fail "one name is wanted, and '$1' is another"
        name=$1 has_name=1
        ;;
    esac
    shift
  done
  [[ $name =~ ^[a-z0-9]+([._/-][a-z0-9]+)*$ ]] ||
    fail "'$name' cannot name a repository: small letters and digits, with . _ - or / between them"
}

require_docker() {
  local answer
  command -v docker >/dev/null || fail "there is no docker command. Install Docker."
  answer=$(docker version --format '{{.Server.Version}}' 2>&1) ||
    fail "Docker does not answer. Start it. It says: ${answer##*$'\n'}"
}

# Sets version, revision and tag. The tag names a commit, so what is built must be that commit.
read_tag() {
  local changes
  command -v git >/dev/null || fail "there is no git command. Install git: the tag names the commit."
  revision=$(git rev-parse --verify HEAD) || fail "$PWD is no git checkout with a commit: the tag names the commit"
  changes=$(git status --porcelain)
  [ -z "$changes" ] || fail "the tag would name a commit, and these files are not as it has them." \
    "Commit, ignore or stash them:"$'\n'"$changes"
  version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
  [ -n "$version" ] || fail "pyproject.toml has no line 'version = \"…\"'"
  tag=$version-$(git rev-parse --short=7 HEAD)${target:+-$target}
}

# Sets registry and password, which proves region and credentials before anything is built.
open_ecr() {
  is_ecr=1
  if aws --version >/dev/null 2>&1; then
    has_cli=1
  elif python3 -c 'import boto3' 2>/dev/null; then
    has_cli=''
  else
    fail "there is neither the AWS CLI nor Python with boto3. Install one: pip install awscli, or pip install boto3." \
      "Or push to another registry: --registry HOST"
  fi
  region=${region:-${AWS_REGION:-${AWS_DEFAULT_REGION:-$(profile_region)}}}
  [ -n "$region" ] || fail "no AWS region is set. Give --region, or set AWS_REGION."
  export AWS_REGION=$region AWS_DEFAULT_REGION=$region AWS_PAGER=''
  local answer endpoint token
  answer=$(ecr get-authorization-token '{}' 'authorizationData[0].[proxyEndpoint, authorizationToken]') ||
    fail "ECR in $region does not let you in; the line above says why." \
      "Set AWS_PROFILE, or run 'aws configure', or check that you may call ecr:GetAuthorizationToken."
  read -r endpoint token <<<"$answer"
  registry=${endpoint#https://}
  password=$(base64 --decode <<<"$token")
  password=${password#AWS:}
}

profile_region() {
  if [ "$has_cli" ]; then
    aws configure get region || true
  else
    python3 -c 'import boto3; print(boto3.Session().region_name or "")'
  fi
}

# One call of ECR: ecr OPERATION REQUEST QUERY. boto3 is asked the very thing that the CLI is.
ecr() {
  if [ "$has_cli" ]; then
    aws ecr "$1" --cli-input-json "$2" --query "$3" --output text
  else
    python3 -c '
import json, sys
import boto3, botocore.exceptions, jmespath

operation, request, query = sys.argv[1:]
try:
    answer = getattr(boto3.client("ecr"), operation.replace("-", "_"))(**json.loads(request))
except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
    sys.exit(str(error))
found = jmespath.search(query, answer)
print(*(found if isinstance(found, list) else [found]), sep="\t")
' "$@"
  fi
}

# Whether the registry has this tag already. Sets has_repository, for ECR.
is_pushed() {
  local message request
  if [ -z "$is_ecr" ]; then
    case $registry in
      127.* | localhost | localhost:*) docker manifest inspect --insecure "$uri" ;; # HTTP, as docker push itself allows
      *) docker manifest inspect "$uri" ;;
    esac >/dev/null 2>&1
    return
  fi
  request='{"repositoryName": "'$name'", "imageIds": [{"imageTag": "'$tag'"}]}'
  has_repository=1
  if message=$(ecr describe-images "$request" 'imageDetails[0].imageDigest' 2>&1); then
    return 0
  fi
  case $message in
    *ImageNotFoundException*) ;;
    *RepositoryNotFoundException*) has_repository='' ;;
    *) fail "ECR did not say whether it has $uri: $message" ;;
  esac
  return 1
}

# SageMaker refuses OCI manifests, and BuildKit makes them by default where the engine keeps images in containerd.
build() {
  local command=(env DOCKER_BUILDKIT=0 docker build) inspected
  if docker buildx version >/dev/null 2>&1; then
    command=(docker buildx build --platform linux/amd64 --provenance=false --sbom=false
      --output 'type=docker,oci-mediatypes=false')
  fi
  command+=(--tag "$uri" --build-arg "VERSION=$version" --build-arg "REVISION=$revision")
  if [ "$target" ]; then
    command+=(--target "$target")
  fi
  run "${command[@]}" ${build_options[@]+"${build_options[@]}"} . # bash 3.2 calls an empty array unbound
  [ -z "$is_dry" ] || return 0
  inspected=$(docker image inspect "$uri") # whole: to a client before 28 a template with .Descriptor is an error
  case $inspected in
    *'"mediaType": "application/vnd.oci.'*)
      fail "the image has an OCI manifest, which SageMaker refuses. Turn off Docker's containerd image store." ;;
  esac
}

write_sbom() {
  local sbom=build/sbom-$tag.cdx.json
  local command=(docker run --rm --network none --entrypoint python3 "$uri" /usr/local/share/lesion/sbom.py)
  show "${command[@]}" '>' "$sbom"
  [ -z "$is_dry" ] || return 0
  mkdir -p build
  "${command[@]}" >"$sbom.part" || fail "the image did not list what it holds; the line above says why"
  mv "$sbom.part" "$sbom"
}

create_repository() {
  [ -z "$has_repository" ] || return 0
  local request='{"repositoryName": "'$name'", "imageScanningConfiguration": {"scanOnPush": true}, "imageTagMutability": "IMMUTABLE"}'
  show aws ecr create-repository --cli-input-json "$request"
  [ -z "$is_dry" ] || return 0
  ecr create-repository "$request" repository.repositoryArn >&2 ||
    fail "the repository could not be made; the line above says why"
}

log_in() {
  show docker login --username AWS --password-stdin "$registry"
  [ -z "$is_dry" ] || return 0
  printf %s "$password" | docker login --username AWS --password-stdin "$registry" >&2
}

# An image without an index works as well and starts later, so that nothing here fails the push. The tool reads images from
# containerd, where Docker keeps its own in the namespace moby, and the registry's password from Docker's settings.
push_soci_index() {
  if ! command -v soci >/dev/null; then
    echo "no SOCI index: there is no soci command. The image works without. Install soci-snapshotter, and run this again." >&2
  elif ! { run soci --namespace moby create "$uri" && run soci --namespace moby push "$uri"; }; then
    echo "no SOCI index; the line above says why. The image works without." >&2
  fi
}

# Shows a command, and runs it unless this is a dry run.
run() {
  show "$@"
  [ "$is_dry" ] || "$@" >&2
}

show() {
  local word line=+
  for word; do
    case $word in
      '>') ;;
      *[!A-Za-z0-9_./:=,@-]*) word="'$word'" ;;
    esac
    line="$line $word"
  done
  echo "$line" >&2
}

fail() {
  echo "error: $*" >&2
  exit 2
}

main "$@"
