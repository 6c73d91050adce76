# bash completion for capsicum(1)

_capsicum() {
	local cur prev words cword i word
	if declare -F _init_completion >/dev/null; then
		_init_completion -n = || return
	else
		words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
		cur=${words[cword]} prev=${words[cword - 1]}
	fi

	local paths='--ro --rox --rw --rwx --cap --cwd'
	local values="$paths --fd --env --hostname --limit --engine --allow-weaker --status-fd"
	local flags="$values --system --tmp --no-dev --no-proc --pty --clear-env --linger --net --capsicum --dry-run --json --help"

	# Where the program begins, the words are the program's.
	local command=run
	for ((i = 1; i < cword; i++)); do
		word=${words[i]}
		case $word in
		run | doctor | rights | ps | help | version)
			if ((i == 1)); then
				command=$word
				continue
			fi
			;;
		esac
		[[ $command == run ]] || break
		if [[ $word == -- ]]; then
			((i++))
			break
		elif [[ $word == -* ]]; then
			[[ " $values " == *" $word "* ]] && ((i++))
		else
			break
		fi
	done
	if [[ $command == run ]] && ((i < cword)) || { ((i == cword)) && [[ ${words[i - 1]} == -- ]]; }; then
		if declare -F _command_offset >/dev/null; then
			_command_offset "$i"
		elif ((i == cword)); then
			COMPREPLY=($(compgen -c -- "$cur"))
		else
			COMPREPLY=($(compgen -f -- "$cur"))
			compopt -o filenames
		fi
		return
	fi

	case $command in
	doctor)
		COMPREPLY=($(compgen -W '--json --help' -- "$cur"))
		return
		;;
	rights)
		COMPREPLY=($(compgen -W "--json --help $(capsicum rights 2>/dev/null | sed -n '/^RIGHT/,$s/^\([a-z_]*\) .*/\1/p')" -- "$cur"))
		return
		;;
	ps)
		COMPREPLY=($(compgen -W "--json --help $(command ps -eo pid= 2>/dev/null)" -- "$cur"))
		return
		;;
	help)
		COMPREPLY=($(compgen -W 'run doctor rights ps version grants engines exit weaker' -- "$cur"))
		return
		;;
	version) return ;;
	esac

	case $prev in
	--engine) COMPREPLY=($(compgen -W 'auto namespaces landlock' -- "$cur")) ;;
	--allow-weaker) COMPREPLY=($(compgen -W "$(capsicum help weaker 2>/dev/null | sed -n 's/^  \([a-z_]*\)  .*/\1/p')" -- "$cur")) ;;
	--env) COMPREPLY=($(compgen -v -- "$cur")) ;;
	--limit) COMPREPLY=($(compgen -W 'mem= procs= files= cpu=' -- "$cur")) ; compopt -o nospace ;;
	--cwd) COMPREPLY=($(compgen -d -- "$cur")) ; compopt -o filenames ;;
	--ro | --rox | --rw | --rwx | --cap) COMPREPLY=($(compgen -f -- "$cur")) ; compopt -o filenames ;;
	--fd | --hostname | --status-fd) ;;
	*)
		if [[ $cur == -* ]]; then
			COMPREPLY=($(compgen -W "$flags" -- "$cur"))
		else
			local first=
			((cword == 1)) && first='run doctor rights ps help version'
			COMPREPLY=($(compgen -W "$first" -- "$cur") $(compgen -c -- "$cur"))
		fi
		;;
	esac
}

complete -F _capsicum capsicum
