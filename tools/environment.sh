# Sourced by quickstart.sh and test.sh: one way to make an environment with the tested versions.

# make_environment FOLDER REQUIREMENT: a virtual environment with this project and its tested dependencies.
make_environment() {
  local folder=$1 requirement=$2 python=${PYTHON:-python3}
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "error: $python is older than 3.11; name a newer one, e.g. PYTHON=python3.12 bash $0" >&2
    return 1
  fi
  echo "Setting up $folder (a few minutes the first time) ..."
  "$python" -m venv "$folder"
  # The pinned torch comes first: left to itself, pip may choose another build with gigabytes of libraries.
  "$folder/bin/pip" install --quiet --disable-pip-version-check "$(grep '^torch==' constraints.txt)"
  "$folder/bin/pip" install --quiet --disable-pip-version-check --constraint constraints.txt --editable "$requirement"
}
