# fish completion for capsicum(1)

function __capsicum_first
    test (count (commandline -opc)) -eq 1
end

function __capsicum_command
    set -f words (commandline -opc)
    test (count $words) -gt 1; and test "$words[2]" = "$argv[1]"
end

function __capsicum_run
    for word in doctor rights ps help version
        __capsicum_command $word; and return 1
    end
    return 0
end

complete -c capsicum -n __capsicum_first -a run -d 'Run a program with only what is granted'
complete -c capsicum -n __capsicum_first -a doctor -d 'Try what this machine can enforce'
complete -c capsicum -n __capsicum_first -a rights -d 'List the rights'
complete -c capsicum -n __capsicum_first -a ps -d 'List confined processes'
complete -c capsicum -n __capsicum_first -a help -d 'Show help'
complete -c capsicum -n __capsicum_first -a version -d 'Show the version'
complete -c capsicum -l help -s h -d 'Show help'

complete -c capsicum -n __capsicum_run -l ro -r -F -d 'Look up, list, read, map'
complete -c capsicum -n __capsicum_run -l rox -r -F -d 'As --ro, and execute'
complete -c capsicum -n __capsicum_run -l rw -r -F -d 'As --ro, and write, create, remove, lock'
complete -c capsicum -n __capsicum_run -l rwx -r -F -d 'As --rw, and execute'
complete -c capsicum -n __capsicum_run -l cap -r -F -d 'Exactly these rights'
complete -c capsicum -n __capsicum_run -l system -d "The operating system's runtime"
complete -c capsicum -n __capsicum_run -l tmp -d 'A private empty /tmp'
complete -c capsicum -n __capsicum_run -l no-dev -d 'No minimal /dev'
complete -c capsicum -n __capsicum_run -l no-proc -d 'No /proc'
complete -c capsicum -n __capsicum_run -l pty -d 'Pseudo terminals of its own'
complete -c capsicum -n __capsicum_run -l fd -x -d 'Keep an inherited descriptor'
complete -c capsicum -n __capsicum_run -l env -x -a '(set -nx)' -d 'Pass or set a variable'
complete -c capsicum -n __capsicum_run -l clear-env -d 'Begin with an empty environment'
complete -c capsicum -n __capsicum_run -l cwd -x -a '(__fish_complete_directories)' -d 'Start in a directory'
complete -c capsicum -n __capsicum_run -l hostname -x -d 'A host name of its own'
complete -c capsicum -n __capsicum_run -l limit -x -a 'mem= procs= files= cpu=' -d 'Resource limits'
complete -c capsicum -n __capsicum_run -l linger -d 'What the program leaves behind may go on'
complete -c capsicum -n __capsicum_run -l net -d "The host's network"
complete -c capsicum -n __capsicum_run -l engine -x -a 'auto namespaces landlock' -d 'Which engine'
complete -c capsicum -n __capsicum_run -l allow-weaker -x -a 'landlock hostname pty' -d 'Accept one named loss'
complete -c capsicum -n __capsicum_run -l capsicum -d 'What is started may confine itself'
complete -c capsicum -n __capsicum_run -l dry-run -d 'Print what would exist, run nothing'
complete -c capsicum -n __capsicum_run -l json -d 'With --dry-run, print JSON'
complete -c capsicum -n __capsicum_run -l status-fd -x -d 'JSON lines about the program'
complete -c capsicum -n '__capsicum_command doctor; or __capsicum_command rights; or __capsicum_command ps' -l json -d 'Print JSON'
complete -c capsicum -n '__capsicum_command help' -x -a 'run doctor rights ps version grants engines exit weaker'
complete -c capsicum -n '__capsicum_command ps' -x -a '(__fish_complete_pids)'
