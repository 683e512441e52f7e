# scripts/demo, run by a user with sudo: from any directory, to its end, with an app that fails, and interrupted at every
# stage. However it ends, it leaves nothing behind. Several run at once. A tick of pg_cron is awaited once.
use strict;
use warnings;

# A tick is up to a minute away, and pg_cron may miss the first one.
BEGIN { $ENV{PG_TEST_TIMEOUT_DEFAULT} ||= 180 }

use Cwd qw(abs_path);
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

use POSIX ();
use Time::HiRes qw(usleep);

plan skip_all => 'scripts/demo is made for Debian' unless -x '/usr/bin/dpkg-query';

my $root = abs_path("$FindBin::RealBin/../..");
my $tmp  = PostgreSQL::Test::Utils::tempdir();

# The extension is built and installed already, so make and sudo do nothing here, except for one that hangs.
my $bin = "$tmp/bin";
mkdir $bin or die "$bin: $!";
sub command {
    my ($name, $script) = @_;
    append_to_file("$bin/$name", "#!/bin/sh\n$script");
    chmod 0755, "$bin/$name" or die "$bin/$name: $!";
    return;
}
command('make', <<'SH');
echo "make $*" >>"$COMMANDS"
if [ -n "$MAKE_HANGS" ]; then exec sleep 1000; fi
SH
command('sudo', <<'SH');
echo "sudo $*" >>"$COMMANDS"
if [ "$1 $2" != '-- make' ]; then exit 1; fi
SH

# A copy of the sources in a directory with a blank in its name, and an app with a route that answers 500.
sub sources {
    my ($name, $broken) = @_;
    my $copy = "$tmp/sources of $name";
    mkdir $copy or die "$copy: $!";
    system_or_bail('cp', '-R', "$root/scripts", "$root/examples", $copy);
    if ($broken) {
        my $app = slurp_file("$copy/examples/app/app.js");
        $app =~ s/(?=\n    return \[200)/\n    if (path === '$broken') return [500, { ok: false }]/ or die 'the app has changed';
        unlink "$copy/examples/app/app.js";
        append_to_file("$copy/examples/app/app.js", $app);
    }
    return $copy;
}

# Starts it in a process group of its own, to which a terminal sends Ctrl-C. Each process that it starts has the run's name
# in its environment.
my $runs = 0;
sub start {
    my (%params) = @_;
    my $name = "$$-" . ++$runs;
    my %run  = (name => $name, output => '', commands => "$tmp/commands-$name", marker => "WEE5_DEMO_RUN=$name");
    pipe(my $read, my $write) or die "pipe: $!";
    my $pid = fork() // die "fork: $!";
    if ($pid == 0) {
        POSIX::setpgid(0, 0);
        POSIX::dup2(fileno($write), $_) for 1, 2;
        close $read;
        close $write;
        # The caller may have another database in the environment, and may be unable to write to the current directory.
        my %environment = (
            PATH => "$bin:$ENV{PATH}", HOME => '/nonexistent', WEE5_DEMO_RUN => $name, COMMANDS => $run{commands},
            PGHOST => '/nonexistent', PGPORT => 1, PGDATABASE => 'nowhere', PGOPTIONS => '-c nonsense=1', PSQLRC => '/dev/null',
            (map { $_ => $ENV{$_} } grep { exists $ENV{$_} } qw(LANG PG_MAJOR)), %{ $params{env} // {} });
        chdir '/' or POSIX::_exit(126);
        %ENV = %environment;
        my $demo = "$params{sources}/scripts/demo";
        POSIX::_exit(127) unless exec {$demo} $demo, @{ $params{options} // [] };
    }
    close $write;
    return { %run, pid => $pid, read => $read };
}

# The processes with the run's name in their environment, and their working directories.
sub processes {
    my ($run) = @_;
    my @pids = grep {
        my $environ = '';
        if (open my $file, '<', "/proc/$_/environ") { local $/; $environ = <$file> // ''; }
        $environ =~ /(?:^|\0)\Q$run->{marker}\E\0/;
    } map { m{(\d+)} } glob '/proc/[0-9]*';
    return @pids;
}

sub directories {
    my ($run) = @_;
    my %directories = map { $_ => 1 } map { (readlink("/proc/$_/cwd") // '') =~ m{^(/tmp/wee5_cron_\w+\.\w+)} } processes($run);
    my $commands = -e $run->{commands} ? slurp_file($run->{commands}) : '';
    $directories{$_} = 1 for $commands =~ m{-C (/tmp/wee5_cron_\w+\.\w+)}g;
    return keys %directories;
}

# Reads until the output matches.
sub read_until {
    my ($run, $until) = @_;
    local $SIG{ALRM} = sub { die "it did not come to $until:\n$run->{output}" };
    alarm $ENV{PG_TEST_TIMEOUT_DEFAULT};
    while ($run->{output} !~ $until) {
        my $read = sysread $run->{read}, $run->{output}, 4096, length $run->{output};
        next if !defined $read && $!{EINTR};
        die "it ended without $until:\n$run->{output}" unless $read;
    }
    alarm 0;
    return;
}

# Reads to the end, and returns the exit status, or 128 plus the signal's number.
sub ended {
    my ($run) = @_;
    local $SIG{ALRM} = sub { die "it does not end:\n$run->{output}" };
    alarm $ENV{PG_TEST_TIMEOUT_DEFAULT};
    if ($run->{read}) { 1 while sysread $run->{read}, $run->{output}, 4096, length $run->{output}; }
    waitpid delete $run->{pid}, 0;
    alarm 0;
    return $? & 127 ? 128 + ($? & 127) : $? >> 8;
}

sub nothing_is_left {
    my ($run, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    # A process that was told to end may need a moment.
    for (1 .. 100) { last unless processes($run); usleep(100_000); }
    is(join(' ', processes($run)), '', "$name: no process is left");
    is(join(' ', grep { -e } @{ $run->{directories} }, directories($run)), '', '... and no directory is left');
    return;
}

my @started;
END {
    local $?;
    for my $run (grep { $_->{pid} } @started) { kill 'KILL', processes($run) }
}
sub begin { my $run = start(@_); push @started, $run; return $run }

my $good = sources('a good app');
my %run  = (
    once  => begin(sources => $good, options => ['--once']),
    stays => begin(sources => $good),
    # The call made by hand, and the call on the tick.
    by_hand => begin(sources => sources('an app that fails by hand', '/api/cron/welcome-emails'), options => ['--once']),
    on_tick => begin(sources => sources('an app that fails on the tick', '/api/analytics/cron'),  options => ['--once']),
    stopped => begin(sources => $good),
    piped   => begin(sources => $good, options => ['--once']),
    builds  => begin(sources => $good, env => { MAKE_HANGS => 1 }),
);

# The script is told to end during the build. Only the script itself gets the signal.
read_until($run{builds}, qr/building/);
for (1 .. 600) { last if -s $run{builds}{commands}; usleep(100_000); }
$run{builds}{directories} = [ directories($run{builds}) ];
is(scalar(@{ $run{builds}{directories} }), 1, 'the demo builds in its own directory');
kill 'TERM', $run{builds}{pid};
is(ended($run{builds}), 143, 'SIGTERM during the build ends the demo');
nothing_is_left($run{builds}, 'SIGTERM during the build');

# The script is told to end while it waits for the tick, or its reader goes away.
for my $case ([ 'stopped', 'SIGTERM' ], [ 'piped', 'a reader who leaves' ]) {
    my ($key, $what) = @$case;
    my $run = $run{$key};
    read_until($run, qr/waiting for the full minute/);
    $run->{directories} = [ directories($run) ];
    cmp_ok(scalar(@{ $run->{directories} }), '>=', 2, "$what: by then the demo has a server and a build");
    cmp_ok(scalar(processes($run)), '>=', 3, '... and the server and the app run');
    $key eq 'piped' ? close delete $run->{read} : kill('TERM', $run->{pid});
    isnt(ended($run), 0, "$what during the wait for the tick ends the demo");
    nothing_is_left($run, "$what during the wait for the tick");
}

# A call made by hand that fails.
is(ended($run{by_hand}), 1, 'the demo --once fails when the call by hand fails');
like($run{by_hand}{output}, qr{\(by hand\) +/api/cron/welcome-emails +failed +500 .*The app answered 500}, "... and shows the call's row");
like($run{by_hand}{output}, qr/call 1 should have succeeded, and is failed/, '... and says that the call failed');
like($run{by_hand}{output}, qr{--- the end of app\.log\n(?:.*\n)*.*GET /api/cron/welcome-emails 500}, '... with the logs');
unlike($run{by_hand}{output}, qr/full minute/, '... and does not wait for the tick');
nothing_is_left($run{by_hand}, 'a failed call by hand');

# A demo that runs to its end.
is(ended($run{once}), 0, 'the demo --once succeeds when all calls succeed');
my $output = $run{once}{output};
like($output, qr{^ +\d+  \(by hand\) +/api/cron/welcome-emails +succeeded +200 }m,               '... and shows the call by hand');
like($output, qr{^ *call \| demo \| /api/cron/poll-activities \| }m,                                '... and a call for later, while it waits');
like($output, qr{^ +\d+  \(by hand\) +/api/cron/poll-activities +succeeded +200 }m, '... and when its time has come');
like($output, qr{^ +\d+  demo-every-minute +/api/analytics/cron\?by=demo +succeeded +200 }m,     "... and pg_cron's call");
like($output, qr{^ *demo-every-minute \| \* \* \* \* \* +\| succeeded +\| +200 \| +0 \| ok}m,    '... and the row of job_status');
like($output, qr{GET /api/analytics/cron 200 .* job=demo-every-minute$}m,                        "... and the app's log");
like($output, qr{ the same as a page, for your browser: file:///tmp/wee5_cron_demo\.\w+/status\.html$}m, '... and the address of the page');
like($output, qr/ Chromium has looked at it\. It says: \w+ .*\.$/m, '... and a browser has read the page') if -x '/usr/bin/chromium';
like($output, qr/^\[ *\d+s\] all three calls succeeded$/m,                                       '... and says that all calls succeeded');
like(slurp_file($run{once}{commands}), qr{\Amake -C /tmp/wee5_cron_build\.\w+ .*\nsudo -- make .* install$}m, '... and was built by the user and installed by root');
unlike($output, qr/[0-9a-f]{64}/, '... and never prints the secret');
nothing_is_left($run{once}, 'a demo that ran to its end');

is(ended($run{on_tick}), 1, "the demo --once fails when pg_cron's call fails");
like($run{on_tick}{output}, qr{demo-every-minute +/api/analytics/cron\?by=demo +failed +500 }, "... and shows the call's row");
nothing_is_left($run{on_tick}, 'a failed call on the tick');

# The demo keeps running, and the line that it prints opens a session.
read_until($run{stays}, qr/Ctrl-C stops it all/);
$run{stays}{directories} = [ directories($run{stays}) ];
my ($psql) = $run{stays}{output} =~ m{^   (\S*psql -h /tmp/wee5_cron_demo\S+ .*)$}m;
my $looked = `$psql -X -At -c "SELECT status FROM wee5_cron.wait_for(invoke_cron_endpoint('/api/cron/poll-activities'))" 2>&1`;
like($looked, qr/made by the current transaction/, 'the line that the demo prints opens a session in its database');
my $id = `$psql -X -At -c "SELECT invoke_cron_endpoint('/api/cron/poll-activities')"`;
chomp $id;
read_until($run{stays}, qr{^ +$id  \(by hand\) +/api/cron/poll-activities +succeeded +200 }m);
pass('a call made in that session is shown by the demo');
my ($directory) = $psql =~ m{(/tmp/wee5_cron_demo\.\w+)};
is(sprintf('%o', (stat $directory)[2] & 0777), '700', "the socket's directory is open to its owner only");
is(scalar(grep { !/127\.0\.0\.1/ } split /\n/, `$psql -X -At -c 'SHOW listen_addresses'`), 0, "the demo's server does not listen on the network");
# As a terminal does it.
kill 'INT', -$run{stays}{pid};
is(ended($run{stays}), 0, 'Ctrl-C ends it, and that is fine') or diag($run{stays}{output});
unlike($run{stays}{output}, qr/the end of|has ended|^scripts/m, 'Ctrl-C ends the demo without an error message');
nothing_is_left($run{stays}, 'Ctrl-C');

# An option that does not exist.
my $odd = begin(sources => $good, options => ['--twice']);
is(ended($odd), 2, 'an unknown option ends the demo with status 2');
like($odd->{output}, qr/^usage: /, '... and its usage');
done_testing();
