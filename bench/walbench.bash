# bash completion of walbench

_walbench_words() # words, word: the last of a list behind commas, without those that stand there already
{
    local words=$1 word=$2 front='' given
    if [[ $word == *,* ]]; then
        front=${word%,*},
        for given in ${front//,/ }; do
            words=" $words "
            words=${words/ $given / }
        done
    fi
    mapfile -t COMPREPLY < <(compgen -P "$front" -W "$words" -- "${word##*,}")
}

_walbench()
{
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local commands='sync append recover peers raft compare plot probe explain' command='' given
    if [ "$word" = = ]; then # --layout=, cut in two by COMP_WORDBREAKS
        word=
    elif [ "$before" = = ]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $before in
        --method | -m) _walbench_words 'none fdatasync fsync o_dsync rwf_dsync uring-linked uring-dsync' "$word"; return ;;
        --layout | -l) _walbench_words 'append fallocated zeroed recycled' "$word"; return ;;
        --peers) _walbench_words 'libwal raft rocksdb sqlite lmdb plain' "$word"; return ;;
        --direct) mapfile -t COMPREPLY < <(compgen -W 'both direct buffered' -- "$word"); return ;;
        --engine) mapfile -t COMPREPLY < <(compgen -W 'auto posix uring' -- "$word"); return ;;
        --profile) mapfile -t COMPREPLY < <(compgen -W 'etcd postgres sqlite mysql redis raftcore' -- "$word"); return ;;
        --emulate) mapfile -t COMPREPLY < <(compgen -W 'hdd cloud ssd nvme' -- "$word"); return ;;
        --format) mapfile -t COMPREPLY < <(compgen -W 'text md csv json' -- "$word"); return ;;
        --stat) mapfile -t COMPREPLY < <(compgen -W 'p50 p90 p99 p999 p9999 min mean max rate records_per_sync' -- "$word"); return ;;
        --progress) mapfile -t COMPREPLY < <(compgen -W 'auto always never' -- "$word"); return ;;
        --output | -o) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
        help) mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$word"); return ;;
    esac
    # The command is the first word, or stands behind options.
    for given in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        [[ " $commands " == *" $given "* ]] && command=$given && break
    done
    case $word in
        -*)
            local options # Of the command alone; of all while there may come one.
            options=$(walbench help ${command:+"$command"} 2>/dev/null | grep -E '^  (-.,|   ) --' | grep -o -- '--[a-z-]*' | sort -u)
            mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
            ;;
        *)
            local first=
            [ -z "$command" ] && first="$commands help"
            mapfile -t COMPREPLY < <(compgen -W "$first" -- "$word"; compgen -f -- "$word")
            ;;
    esac
}
complete -o filenames -F _walbench walbench
