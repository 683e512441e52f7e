# Whoever stops scripts/check gets the prompt back at once, whatever it waits for. No process stays, no server, and no file.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

use Cwd qw(abs_path);
use Time::HiRes qw(usleep);
use Wee5Cron::Script;

plan skip_all => 'scripts/check is made for Debian' unless -x '/usr/bin/dpkg-query';

my $root = abs_path("$FindBin::RealBin/../..");
my $tmp  = PostgreSQL::Test::Utils::tempdir();
my ($bindir) = qx(pg_config --bindir) =~ /(.+)/;
my ($node) = grep { -x } map { "$_/node" } split(/:/, $ENV{PATH}), '/usr/local/bin';
plan skip_all => 'there is no Node' unless $node;

# The part "scripts" waits for node in the foreground. This one starts a server in the directory of the check, as tests do, perhaps
# also a process that works elsewhere and ignores SIGTERM, and then never ends. npm has nothing to install.
mkdir "$tmp/bin" or die $!;
append_to_file("$tmp/bin/npm", "#!/bin/sh\nmkdir \"\$3/node_modules\"\n");
append_to_file("$tmp/bin/node", "#!/bin/sh\ncase \$1 in node_modules/*) ;; *) exec $node \"\$@\" ;; esac\n" . <<"SH");
$bindir/initdb --pgdata=data --auth=trust --no-sync --no-instructions >/dev/null || exit
$bindir/pg_ctl --pgdata=data --log=server.log --options="-c listen_addresses= -k ." --wait --silent start || exit
if [ -n "\$STUBBORN" ]; then (trap '' TERM; cd /; exec sleep 1000) & fi
sed -n '1p;7p' data/postmaster.pid >"\$COMMANDS.new" && echo "-C \$PWD" >>"\$COMMANDS.new" && mv "\$COMMANDS.new" "\$COMMANDS"
exec sleep 1000
SH
chmod 0755, "$tmp/bin/npm", "$tmp/bin/node" or die $!;

my $runs = 0;
sub begin {
    my ($stubborn) = @_;
    my $commands = "$tmp/commands-" . ++$runs;
    return Wee5Cron::Script->start(command => [ "$root/scripts/check", '--only', 'scripts' ], log => $commands,
        env => { PATH => "$tmp/bin:$ENV{PATH}", HOME => $tmp, COMMANDS => $commands, STUBBORN => $stubborn });
}

# A server always has System V shared memory, and does not remove it if it is killed.
sub shared_memory {
    my ($id) = @_;
    return scalar grep { /^\s*-?\d+\s+\Q$id\E\s/ } split /\n/, slurp_file('/proc/sysvipc/shm');
}

# A terminal sends SIGINT to each process, and SIGHUP when it is closed; others tell only the script.
my @cases = ([ 'SIGTERM', 143, begin('stubborn') ], [ 'SIGINT', 130, begin('') ],
    [ 'SIGINT from a terminal', 130, begin('') ], [ 'SIGHUP from a terminal', 143, begin('') ]);
for my $case (@cases) {
    my ($what, $status, $run) = @$case;
    for (1 .. 10 * $ENV{PG_TEST_TIMEOUT_DEFAULT}) { last if -s $run->log; usleep(100_000); }
    is(scalar(my @directories = $run->directories), 1, 'the check runs in a directory of its own');
    ok(-e "$directories[0]/tree/src" && !-e "$directories[0]/tree/tmp_check", '... with the sources, without the tests\' servers');
    my ($server, $memory) = slurp_file($run->log) =~ /\A(\d+)\n\s*\d+\s+(\d+)\n/ or die 'node did not come that far';
    ok(readlink("/proc/$server/exe"), '... and waits for node, which has started a server');
    ok(shared_memory($memory), '... with shared memory');
    my ($signal, $all) = $what =~ /SIG(\w+)( from)?/;
    kill $signal, $all ? -$run->pid : $run->pid;
    is($run->ended, $status, "$what ends the check") or diag($run->output);
    # Now, not a moment later: the prompt says that it is over.
    is(join(' ', $run->processes), '', '... and when it has ended, no process is left');
    ok(!readlink("/proc/$server/exe"), '... and no server');
    ok(!shared_memory($memory), '... and no shared memory');
    $run->nothing_is_left($what);
}

done_testing();
