# SPDX-License-Identifier: Apache-2.0
# How much room there is, asked before it is used. ./quickstart and tools/install_packages source it; give_up is theirs.
existing() { local folder=$1; until [ -d "$folder" ]; do folder=$(dirname "$folder"); done; echo "$folder"; }
free_mb() { echo $(($(df -Pk "$1" | awk 'END {print $4}') / 1024)); }
disk_of() { df -Pk "$(existing "$1")" | sed -n '$s/.*% //p'; }
need_room() {  # FOLDER MB
  local free
  [ "$2" -gt 0 ] || return 0
  free=$(free_mb "$(existing "$1")")
  [ "$free" -ge "$2" ] || give_up "the disk is too small: about $2 MB are needed in $1, $free MB are free."
}
