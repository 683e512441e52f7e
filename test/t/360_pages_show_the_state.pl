# status_page() and call_page(): what they say in each state, that nothing from outside becomes markup, and how a real
# browser shows them. With --keep, scripts/check keeps the pages and their pictures.
use utf8;
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Editions;
use Wee5Cron::Test;

use Encode ();
use JSON::PP;

my $secret   = 'canary-of-the-pages-4711';
my $receiver = Wee5Cron::Receiver->start(secret => $secret);
my $node     = Wee5Cron::Editions->start_node('main');
$node->install('postgres', api_url => $receiver->url, secret => $secret);
$node->wait_for_worker('postgres');
$node->safe_psql('postgres', 'SELECT wee5_cron.unregister_jobs(); CREATE ROLE reader LOGIN; CREATE ROLE nobody LOGIN');
$node->safe_psql('postgres', "SELECT wee5_cron.grant_to('reader', 'read')");
my $directory = "$PostgreSQL::Test::Utils::log_path/360_pages";
mkdir $directory;
my %pages;

# Makes a page and keeps it for the browser.
sub page {
    my ($name, $sql) = @_;
    my $html = Encode::decode('UTF-8', $node->psql_as('reader', 'postgres', $sql // 'SELECT wee5_cron.status_page()'));
    open my $file, '>:encoding(UTF-8)', "$directory/$name.html" or die $!;
    print {$file} $html;
    close $file;
    $pages{$name} = $html;
    return $html;
}

sub sentence {
    my ($html) = @_;
    return $html =~ m{<p class="sentence [a-z]+">([^<]*)</p>} ? $1 : undef;
}

sub literal { my ($text) = @_; return "'" . Encode::encode('UTF-8', $text =~ s/'/''/gr) . "'" }

sub job {
    my ($name, $path, $schedule) = @_;
    $node->safe_psql('postgres', sprintf 'SELECT wee5_cron.schedule(%s, %s, %s)', literal($name), literal($schedule // '0 0 1 1 *'), literal($path));
    return;
}

sub run_job {
    my ($name) = @_;
    my $id = $node->safe_psql('postgres', sprintf 'SELECT wee5_cron.run_now(%s)', literal($name));
    return $node->finished('postgres', $id);
}

# Each state has its sentence.
is(sentence(page('empty')), 'There are no jobs yet.', 'the page of an empty database says that there are no jobs yet');
job('digest', '/digest', '0 9 * * 1-5');
run_job('digest');
is(sentence(page('one')), 'The only job is fine.', 'the page with one job says that it is fine');
job('report', '/report', '*/5 * * * *');
run_job('report');
is(sentence(page('fine')), 'All 2 jobs are fine.', 'the page with two jobs says that both are fine');
like($pages{fine}, qr/at 09:00 on Monday through Friday/, '... and shows their schedules in words');

job('failing', '/status/500');
my $hint = run_job('failing')->{hint} =~ s/'/&#39;/gr;
run_job('failing');
is(sentence(page('failing')), '1 of 3 jobs needs you.', 'the page counts a job that fails');
like($pages{failing}, qr/What needs you.*failing.*2 failures in a row.*\Q$hint\E.*id="jobs"/s, '... and shows it with its hint, above all else');
like($pages{failing}, qr/job <bdi>failing<\/bdi>, 2 times/, '... and shows its equal failures as one');

$node->safe_psql('postgres', 'SELECT wee5_cron.disarm()');
is(sentence(page('disarmed')), 'Calls are switched off. 1 of 3 jobs needs you.', 'the page of a disarmed database says that calls are off');
like($pages{disarmed}, qr/What needs you.*armed.*SELECT wee5_cron\.arm\(\);.*id="jobs"/s, '... and how to arm it, above all else');
unlike($pages{disarmed} =~ s/.*id="findings"//sr, qr/SELECT wee5_cron\.arm\(\);\n--/, '... and only there');
$node->safe_psql('postgres', 'SELECT wee5_cron.arm()');
$node->safe_psql('postgres', "SELECT wee5_cron.pause('failing', 'until Monday')");
is(sentence(page('paused')), 'All 3 jobs are fine.', 'the page counts a paused job as fine');
like($pages{paused}, qr/paused: <bdi>until Monday</, '... and shows why it is paused');
$node->safe_psql('postgres', "SELECT wee5_cron.resume('failing')");

$node->safe_psql('postgres', <<'SQL');
INSERT INTO wee5_cron.job_watch (jobid, schedule, active, judged_until, missed_runs, last_missed, job_name)
SELECT jobid, schedule, true, now(), 3, now() + interval '1 hour', jobname FROM cron.job WHERE jobname = 'digest'
ON CONFLICT (jobid) DO UPDATE SET missed_runs = 3, last_missed = excluded.last_missed
SQL
is(sentence(page('late')), '2 of 3 jobs need you.', 'the page counts a late job');
like($pages{late}, qr/digest.*late.*3 missed runs/s, '... and shows its missed runs');

# An error that doctor() finds is in the page's sentence, and above all else.
$node->safe_psql('postgres', "DELETE FROM wee5_cron.job_watch WHERE true; SELECT wee5_cron.pause('failing', 'until Monday')");
$node->forget_secret('postgres');
like(sentence(page('no-secret')), qr/^All 3 jobs are fine, but doctor\(\) finds \d errors?\.$/, "the page's sentence counts doctor()'s errors when the secret is missing");
like($pages{'no-secret'}, qr/What needs you.*cron secret.*configure\(.*id="jobs"/s, '... and the page says how to set it');
$node->configure('postgres', secret => $secret);
$node->safe_psql('postgres', "SELECT wee5_cron.resume('failing')");

# Text from outside stays text.
my @attacks = (
    '<script>alert(1)</script>', '"><img src=x onerror=alert(2)>', "'><svg/onload=alert(3)>", '</style><style>*{display:none}</style>',
    '</title><base href="http://evil.example/">', '&lt;script&gt;', "\x{202e}drawkcab\x{202c}", "\x{1}\x{7f}\x{85}", 'javascript:alert(4)', '<!-- -->', ']]>', '${7*7}', '%s%s %1$s');
my $n = 0;
for my $attack (@attacks) {
    job($attack, '/attack/' . $n++, '0 0 1 2 *');
    $node->safe_psql('postgres', sprintf q{INSERT INTO wee5_cron.invocation (endpoint_path, job_name, transport, status, reason, error, hint, http_status, attempts, finished_at, first_sent_at, duration, response_content_type, response_body)
        VALUES ('/attack/' || %1$s, %1$s, 'builtin', 'failed', 'http', %1$s, %1$s, 500, 1, now(), now(), '1 s', %1$s, %1$s || '</pre>' || %1$s)}, literal($attack));
    $node->safe_psql('postgres', sprintf 'SELECT wee5_cron.pause(%1$s, %1$s)', literal($attack)) if $n % 2;
}
my $html = page('attacks', sprintf 'SELECT wee5_cron.status_page(%s)', literal(join ' ', @attacks));
for my $attack (grep { /[<>"']/ } @attacks) {
    unlike($html, qr/\Q$attack\E/, "text from outside is no markup on the page: $attack");
}
like($html, qr/<bdi>&lt;script&gt;alert\(1\)&lt;\/script&gt;/, '... and the page shows it as text');
my $attacked = $node->safe_psql('postgres', 'SELECT max(id) - 12 FROM wee5_cron.invocation');
page('attacked-call', "SELECT wee5_cron.call_page($attacked)");
unlike($pages{'attacked-call'}, qr/<script>/, 'the page of a call does not turn such text into markup either');

# What a reader may not see.
my $id = $node->call('postgres', '/fine?token=query-canary', q{headers => '{"X-Own": "header-canary"}'});
$node->finished('postgres', $id);
page('call', "SELECT wee5_cron.call_page($id)");
# Errors, hints and doctor()'s lines name the path, too.
job('with a query', "/status/405?token=query-canary&of='query-canary'");
$node->safe_psql('postgres', "INSERT INTO wee5_cron.endpoint (endpoint_path, timeout) VALUES ('/slow?ms=20000&token=query-canary', '50 ms')");
$id = run_job('with a query')->{id};
$node->finished('postgres', $node->call('postgres', '/slow?ms=20000&token=query-canary'));
page('failed-call', "SELECT wee5_cron.call_page($id)");
like($pages{'failed-call'}, qr{/status/405\?\.\.\.}, 'the page shows the path of an error without its query');
page('private');
for my $name ('call', 'failed-call', 'private') {
    unlike($pages{$name}, qr/query-canary|header-canary/, "$name: the page shows no query and no header value");
    unlike($pages{$name}, qr/\Q$secret\E/, "$name: the page does not show the secret");
}
$node->raises('postgres', $_, '42501', "an ordinary role may not: $_", role => 'nobody') for 'SELECT wee5_cron.status_page()', 'SELECT wee5_cron.call_page(1)';
$node->raises('postgres', 'SELECT wee5_cron.call_page(0)', '02000', 'call_page() of an unknown call is an error', message => qr/no call 0/);
$node->raises('postgres', 'SELECT wee5_cron.call_page(NULL)', '02000', 'call_page(NULL) is an error');

# The phases of a bar are lengths: name look-up, connection, TLS, wait and the rest. Without an answer the rest counts as
# waiting, too.
sub bar {
    my (@milliseconds) = @_;
    my $row = join ', ', '1, 1, now(), now(), 200, NULL, NULL', map { defined $_ ? $_ : 'NULL' } @milliseconds;
    my $html = $node->safe_psql('postgres', "SELECT wee5_cron.page_bar(ROW($row)::wee5_cron.attempt, 310)");
    return join ' ', $html =~ /class="(dns|connect|tls|wait|body)" style="width:([0-9.]+)%/g;
}
is(bar(31, 0, 62, 186, 310), 'dns 10.00 tls 20.00 wait 60.00 body 10.00', 'the bar of a call shows the phases of its answer');
is(bar(31, undef, 62, undef, 310), 'dns 10.00 tls 20.00 wait 70.00', '... and those of a timeout');

# An empty part of the page is left out.
unlike($pages{empty}, qr/What needs you|Failures of the last day|Newest calls|<table/, 'the page of an empty database has no empty parts');
my $strings = $node->standard_strings_off;
like($node->safe_psql('postgres', "SET $strings; SELECT wee5_cron.status_page(); SELECT wee5_cron.call_page(max(id)) FROM wee5_cron.invocation"),
    qr/<html.*<html/s, "with $strings both pages are made");

# Long names, and many of them.
job('long ' . 'w' x 58, '/' . 'long' x 200);
run_job('long ' . 'w' x 58);
job("\x{5e9}\x{5dc}\x{5d5}\x{5dd} \x{5e2}\x{5d5}\x{5dc}\x{5dd}", "/rtl");
$node->safe_psql('postgres', "SELECT count(wee5_cron.schedule('job ' || n, (n % 60) || ' * * * *', '/job/' || n)) FROM generate_series(1, 200) n");
$node->safe_psql('postgres', q{INSERT INTO wee5_cron.invocation (endpoint_path, job_name, transport, status, http_status, attempts, finished_at, first_sent_at, duration)
    SELECT '/job/' || n, 'job ' || n, 'builtin', 'succeeded', 200, 1, now(), now(), '23 ms' FROM generate_series(1, 20), generate_series(1, 200) n});
cmp_ok(length Encode::encode('UTF-8', page('many')), '<', 200_000, 'a page of 220 jobs is smaller than 200 kB');

# A part that fails does not affect the others.
$node->safe_psql('postgres', 'ALTER FUNCTION wee5_cron.page_queue() RENAME TO page_queue_away');
$node->safe_psql('postgres', q{CREATE FUNCTION wee5_cron.page_queue() RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE 'the <b>queue</b> is away'; END$$});
like(page('broken'), qr/This part cannot be shown: the &lt;b&gt;queue&lt;\/b&gt; is away.*id="day"/s, 'a part of the page that fails says so, and the other parts are shown');
$node->safe_psql('postgres', 'DROP FUNCTION wee5_cron.page_queue(); ALTER FUNCTION wee5_cron.page_queue_away() RENAME TO page_queue');

SKIP: {
    my $chromium = (grep { -x } '/usr/bin/chromium', '/usr/bin/google-chrome')[0];
    skip 'there is no Chromium here', 1 unless $chromium;
    my $tests = "$FindBin::RealBin/../scripts";
    skip 'the packages from npm are not there: npm ci in test/scripts', 1 unless -d "$tests/node_modules/puppeteer-core";
    # The editions differ in no more than the part about the server.
    my @files = map { "$directory/$_.html" } $node->is_portable ? 'failing' : qw(empty failing late disarmed attacks many broken failed-call);
    local $ENV{HOME} = $directory;
    my ($stdout, $stderr) = PostgreSQL::Test::Utils::run_command([ 'node', "$tests/look_at_pages.mjs", $chromium, @files ]);
    my @looks = map { JSON::PP->new->utf8->decode($_) } split /\n/, $stdout;
    is(scalar(@looks), 2 * @files, 'each page is looked at on a desktop in light, and on a phone in dark') or diag($stderr);
    for my $look (@looks) {
        my ($name) = $look->{file} =~ m{([^/]+)\.html$};
        my $view = "$name, $look->{scheme}, $look->{device}";
        is_deeply($look->{invalid}, [], "$view: the HTML is valid");
        is_deeply($look->{violations}, [], "$view: axe finds no problem");
        is_deeply($look->{complaints}, [], "$view: the browser reports no problem, and loads nothing else");
        is($look->{scripts}, 0, "$view: the page has no script, link or asset");
        is($look->{overflow}, 0, "$view: the page does not scroll sideways");
    }
    last SKIP if $node->is_portable;
    my ($many) = grep { $_->{file} =~ /many/ } @looks;
    is(scalar(@{ $many->{jobs} }), 200 + 3 + 3 + @attacks, 'each job has its row on the page');
    is_deeply([ map { $_->{state} } @{ $many->{jobs} }[ 0 .. 1 ] ], [ 'failing', 'failing' ], '... and failing jobs come first');
    my ($attacks) = grep { $_->{file} =~ /attacks/ } @looks;
    is(scalar(grep { my $name = $_; grep { $_->{name} eq $name } @{ $attacks->{jobs} } } '<script>alert(1)</script>', '&lt;script&gt;', '%s%s %1$s'), 3,
        'the browser shows text from outside as it was written');
}

$node->log_is_sane;
done_testing();
