# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion for vireo
_vireo()
{
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} i
    if [ "$COMP_CWORD" = 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "run doctor --help --version" -- "$cur")
        return
    fi
    for ((i = 2; i < COMP_CWORD; i++)); do
        if [ "${COMP_WORDS[i]}" = -- ]; then
            mapfile -t COMPREPLY < <(compgen -c -f -- "$cur")
            return
        fi
    done
    case $prev in
    --net) mapfile -t COMPREPLY < <(compgen -W "user none" -- "$cur") ;;
    --accel) mapfile -t COMPREPLY < <(compgen -W "auto kvm vireo" -- "$cur") ;;
    --kernel | --initrd | --disk | --rootfs) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    --share | --rw) mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
    --cpus | --memory | --timeout | --append | -p) ;;
    *) mapfile -t COMPREPLY < <(compgen -W "--kernel --initrd --append --disk --cpus --memory --net -p
        --share --rw --rootfs --accel --timeout --quiet --help --" -- "$cur") ;;
    esac
}
complete -F _vireo vireo
complete -c vireo-kvm
