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

use Wee5Cron::Script;

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

my $runs = 0;
sub begin {
    my (%params) = @_;
    my $commands = "$tmp/commands-" . ++$runs;
    # The caller may have another database in the environment.
    my %environment = (
        PATH => "$bin:$ENV{PATH}", HOME => '/nonexistent', COMMANDS => $commands,
        PGHOST => '/nonexistent', PGPORT => 1, PGDATABASE => 'nowhere', PGOPTIONS => '-c nonsense=1', PSQLRC => '/dev/null');
    return Wee5Cron::Script->start(log => $commands, env => { %environment, %{ $params{env} // {} } },
        command => [ "$params{sources}/scripts/demo", @{ $params{options} // [] } ]);
}

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
$run{builds}->read_until(qr/building/);
for (1 .. 600) { last if -s $run{builds}->log; usleep(100_000); }
is(scalar(my @built = $run{builds}->directories), 1, 'the demo builds in its own directory');
kill 'TERM', $run{builds}->pid;
is($run{builds}->ended, 143, 'SIGTERM during the build ends the demo');
$run{builds}->nothing_is_left('SIGTERM during the build');

# The script is told to end while it waits for the tick, or its reader goes away.
for my $case ([ 'stopped', 'SIGTERM' ], [ 'piped', 'a reader who leaves' ]) {
    my ($key, $what) = @$case;
    my $run = $run{$key};
    $run->read_until(qr/waiting for the full minute/);
    cmp_ok(scalar(my @used = $run->directories), '>=', 2, "$what: by then the demo has a server and a build");
    cmp_ok(scalar(my @running = $run->processes), '>=', 3, '... and the server and the app run');
    $key eq 'piped' ? $run->stop_reading : kill('TERM', $run->pid);
    isnt($run->ended, 0, "$what during the wait for the tick ends the demo");
    $run->nothing_is_left("$what during the wait for the tick");
}

# A call made by hand that fails.
is($run{by_hand}->ended, 1, 'the demo --once fails when the call by hand fails');
like($run{by_hand}->output, qr{\(by hand\) +/api/cron/welcome-emails +failed +500 .*The app answered 500}, "... and shows the call's row");
like($run{by_hand}->output, qr/call 1 should have succeeded, and is failed/, '... and says that the call failed');
like($run{by_hand}->output, qr{--- the end of app\.log\n(?:.*\n)*.*GET /api/cron/welcome-emails 500}, '... with the logs');
unlike($run{by_hand}->output, qr/full minute/, '... and does not wait for the tick');
$run{by_hand}->nothing_is_left('a failed call by hand');

# A demo that runs to its end.
is($run{once}->ended, 0, 'the demo --once succeeds when all calls succeed');
my $output = $run{once}->output;
like($output, qr{^ +\d+  \(by hand\) +/api/cron/welcome-emails +succeeded +200 }m,               '... and shows the call by hand');
like($output, qr{^ *call \| demo \| /api/cron/poll-activities \| }m,                                '... and a call for later, while it waits');
like($output, qr{^ +\d+  \(by hand\) +/api/cron/poll-activities +succeeded +200 }m, '... and when its time has come');
like($output, qr{^ +\d+  demo-every-minute +/api/analytics/cron\?by=demo +succeeded +200 }m,     "... and pg_cron's call");
like($output, qr{^ *demo-every-minute \| \* \* \* \* \* +\| succeeded +\| +200 \| +0 \| ok}m,    '... and the row of job_status');
like($output, qr{GET /api/analytics/cron 200 .* job=demo-every-minute$}m,                        "... and the app's log");
like($output, qr{ the same as a page, for your browser: file:///tmp/wee5_cron_demo\.\w+/status\.html$}m, '... and the address of the page');
like($output, qr/ Chromium has looked at it\. It says: \w+ .*\.$/m, '... and a browser has read the page') if -x '/usr/bin/chromium';
like($output, qr/^\[ *\d+s\] all three calls succeeded$/m,                                       '... and says that all calls succeeded');
like(slurp_file($run{once}->log), qr{\Amake -C /tmp/wee5_cron_build\.\w+ .*\nsudo -- make .* install$}m, '... and was built by the user and installed by root');
unlike($output, qr/[0-9a-f]{64}/, '... and never prints the secret');
$run{once}->nothing_is_left('a demo that ran to its end');

is($run{on_tick}->ended, 1, "the demo --once fails when pg_cron's call fails");
like($run{on_tick}->output, qr{demo-every-minute +/api/analytics/cron\?by=demo +failed +500 }, "... and shows the call's row");
$run{on_tick}->nothing_is_left('a failed call on the tick');

# The demo keeps running, and the line that it prints opens a session.
$run{stays}->read_until(qr/Ctrl-C stops it all/);
$run{stays}->directories;
my ($psql) = $run{stays}->output =~ m{^   (\S*psql -h /tmp/wee5_cron_demo\S+ .*)$}m;
my $looked = `$psql -X -At -c "SELECT status FROM wee5_cron.wait_for(invoke_cron_endpoint('/api/cron/poll-activities'))" 2>&1`;
like($looked, qr/made by the current transaction/, 'the line that the demo prints opens a session in its database');
my $id = `$psql -X -At -c "SELECT invoke_cron_endpoint('/api/cron/poll-activities')"`;
chomp $id;
$run{stays}->read_until(qr{^ +$id  \(by hand\) +/api/cron/poll-activities +succeeded +200 }m);
pass('a call made in that session is shown by the demo');
my ($directory) = $psql =~ m{(/tmp/wee5_cron_demo\.\w+)};
is(sprintf('%o', (stat $directory)[2] & 0777), '700', "the socket's directory is open to its owner only");
is(scalar(grep { !/127\.0\.0\.1/ } split /\n/, `$psql -X -At -c 'SHOW listen_addresses'`), 0, "the demo's server does not listen on the network");
# As a terminal does it.
kill 'INT', -$run{stays}->pid;
is($run{stays}->ended, 0, 'Ctrl-C ends it, and that is fine') or diag($run{stays}->output);
unlike($run{stays}->output, qr/the end of|has ended|^scripts/m, 'Ctrl-C ends the demo without an error message');
$run{stays}->nothing_is_left('Ctrl-C');

# An option that does not exist.
my $odd = begin(sources => $good, options => ['--twice']);
is($odd->ended, 2, 'an unknown option ends the demo with status 2');
like($odd->output, qr/^usage: /, '... and its usage');
done_testing();
