# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion for vireo-system-x86_64: the program itself knows its options, devices and machines
_vireo_system()
{
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} program=${COMP_WORDS[0]} words=
    case $prev in
    -M | -machine) words=$("$program" -M help 2>/dev/null | awk 'NR > 1 { print $1 }') ;;
    -cpu) words=$("$program" -cpu help 2>/dev/null | awk '/^x86/ { print $2 }') ;;
    -device) words=$("$program" -device help 2>/dev/null | sed -n 's/^name "\([^"]*\)".*/\1/p') ;;
    -accel) words="kvm vireo tcg help" ;;
    -vga) words="std virtio none" ;;
    -display) words="none" ;;
    -netdev | -nic) words="user tap stream dgram socket" ;;
    -watchdog-action) words="reset shutdown poweroff pause debug none inject-nmi" ;;
    *)
        case $cur in
        -*) words=$("$program" -help 2>/dev/null | sed -n 's/^\(-[^ ]*\).*/\1/p') ;;
        *) mapfile -t COMPREPLY < <(compgen -f -- "$cur") && return ;;
        esac
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _vireo_system vireo-system-x86_64
