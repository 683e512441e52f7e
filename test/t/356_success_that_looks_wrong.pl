# A 2xx from a cache, or an HTML page from a route that used to answer JSON, is a success with a hint, which doctor()
# repeats as a warning until the route itself answers: on both transports.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Doctor;
use Wee5Cron::Editions;
use Wee5Cron::Test;

# A number of seconds that an app could also send as its Age.
my $secret     = '31415926535897932384626433832795';
my $receiver   = Wee5Cron::Receiver->start(secret => $secret);
my @transports = Wee5Cron::Editions->is_portable ? 'pg_net' : ('builtin', pg_net_available() ? 'pg_net' : ());
# Not the locale C, in which every byte is a character.
my $node       = Wee5Cron::Editions->start_node('main', init => { extra => [qw(--encoding=UTF8 --locale=C.UTF-8)] },
    (@transports > 1 ? (preload => 'pg_cron,pg_net,wee5_cron', conf => "pg_net.database_name = 'postgres'") : ()));
$node->safe_psql('postgres', 'CREATE EXTENSION pg_net') if @transports > 1;
$node->install('postgres', api_url => $receiver->url, secret => $secret);
my $doctor = Wee5Cron::Doctor->new($node, 'postgres');

my $from_a_cache = qr/^The answer came from a cache \((.*?)\), so the route probably did not run\. .*export const dynamic = 'force-dynamic'.*no-store/;
my $html         = qr/The answer is an HTML page/;
my $json_before  = qr/The last success of this route that was no page, call (\d+) of \d{4}-\d\d-\d\d [^,]*, spoke JSON: something else answers/;

my %headers = (
    vercel       => [ 'X-Vercel-Cache: HIT', 'x-vercel-cache: HIT' ],
    'vercel-old' => [ 'x-vercel-cache: stale', 'x-vercel-cache: STALE' ],
    next         => [ 'X-NEXTJS-CACHE: Hit', 'x-nextjs-cache: HIT' ],
    age          => [ "age: $secret", 'Age above 0' ],
    miss         => [ 'x-vercel-cache: MISS', undef ],
    fresh        => [ 'Age: 0', undef ],
    nonsense     => [ 'Age: -5', undef ],
);

for my $transport (@transports) {
    $node->set_database('postgres', transport => $transport) unless $node->is_portable;
    my $call = sub { my ($path, @more) = @_; return $node->call('postgres', "/$transport$path", @more) };
    my $says = sub { my ($path, %answer) = @_; return $receiver->answers("/$transport$path", %answer) };
    my $ends = sub {
        my ($id, $expected, $name) = @_;
        local $Test::Builder::Level = $Test::Builder::Level + 1;
        return fields_are($node->finished('postgres', $id), { transport => $transport, %$expected }, "$transport: $name");
    };
    my $success = { status => 'succeeded', http_status => 200, reason => undef, error => undef };

    # From a cache. All at once: pg_net works in batches with a second between them.
    my %id;
    for my $case (sort keys %headers) {
        $says->("/cache/$case", headers => [ $headers{$case}[0] ]);
        $id{$case} = $call->("/cache/$case");
    }
    $says->('/cache/all', status => 204, headers => [ 'Age: 1', 'X-Nextjs-Cache: HIT', 'X-Vercel-Cache: STALE' ]);
    $id{all} = $call->('/cache/all');
    $says->('/cache/gone', status => 404, headers => ['X-Vercel-Cache: HIT']);
    $id{gone} = $call->('/cache/gone');
    for my $case (sort keys %headers) {
        my $row = $node->finished('postgres', $id{$case});
        my ($header, $signs) = @{ $headers{$case} };
        $ends->($id{$case}, { %$success, hint => $signs && $from_a_cache }, $header);
        is(($row->{hint} // '') =~ $from_a_cache ? $1 : undef, $signs, '... and its hint names the signs of a cache');
    }
    $ends->($id{all}, { status => 'succeeded', http_status => 204, hint => qr/\(x-vercel-cache: STALE, x-nextjs-cache: HIT, Age above 0\)/ }, 'an answer with every sign of a cache');
    $ends->($id{gone}, { status => 'failed', http_status => 404, hint => qr/^No route answers/ }, 'a failure from a cache has only the hint of a failure');

    # Header lines that are not valid text in this database: the relevant ones are still found. The stand-in for pg_net cannot pass
    # them on.
    my $bytes = "X-Caf\xe9: \xff\r\n\xe9: 1\r\n";
    $says->('/bytes/503', raw => "HTTP/1.1 503 Busy\r\n${bytes}rETRY-aFTER: 1\r\nContent-Length: 0\r\n\r\n");
    $says->('/bytes/200', raw => "HTTP/1.1 200 OK\r\n${bytes}Age: 5\r\nContent-Type: text/html\xe9\r\nContent-Length: 0\r\n\r\n");
    $node->policy('postgres', "/$transport/bytes/503", max_attempts => 2, retry_delays => '{20 min}');
    unless ($node->is_portable) {
        $id{$_} = $call->("/bytes/$_") for 503, 200;
        $ends->($id{503}, { status => 'failed', http_status => 503, attempts => 2 }, 'Retry-After is found among bytes that are not valid text');
        $ends->($id{200}, { %$success, hint => qr/$from_a_cache.*$html/, response_content_type => "text/html\x{fffd}" }, 'Age and the content type are found among bytes that are not valid text');
    }

    # doctor() warns about the newest call, and no longer once the route itself answers.
    my $line = qr{/$transport/cache/vercel, .*succeeded, but: The answer came from a cache \(x-vercel-cache: HIT\)};
    like($doctor->red('last_outcome', 'warning', $line, "$transport: an answer from a cache"), qr/^-- The answer came from a cache.*force-dynamic/, '... and its hint says what to do');
    is(scalar(grep { $_->{detail} =~ m{/cache/(miss|fresh|nonsense)} } $doctor->lines('last_outcome')), 0, '... and doctor() lists no call whose answer was fresh');
    $node->safe_psql('postgres', 'DELETE FROM wee5_cron.invocation WHERE true');
    $says->('/cache/vercel', headers => [ 'X-Vercel-Cache: HIT' ]);
    $node->finished('postgres', $call->('/cache/vercel'));
    $doctor->red('last_outcome', 'warning', $line, "$transport: the newest answer comes from a cache");
    $says->('/cache/vercel', headers => [ 'X-Vercel-Cache: MISS', 'Age: 0' ]);
    $node->finished('postgres', $call->('/cache/vercel'));
    $doctor->green('last_outcome', "$transport: the route itself answers");

    # A job's call, too.
    $node->safe_psql('postgres', "SELECT wee5_cron.schedule('of-$transport', '0 0 1 1 *', '/$transport/job')");
    my $run = sub { return $node->safe_psql('postgres', "SELECT wee5_cron.run_now('of-$transport')") };
    $says->('/job', headers => [ 'Age: 60' ]);
    $ends->($run->(), { %$success, hint => $from_a_cache }, "a job's answer from a cache");
    $doctor->red('last_outcome', 'warning', qr{/$transport/job by job "of-$transport", .*from a cache}, "$transport: a job's answer from a cache");
    $says->('/job');
    my $spoke_json = $run->();
    $ends->($spoke_json, { %$success, hint => undef }, "a job's answer from the route itself");
    $doctor->green('last_outcome', "$transport: a job's answer from the route itself");

    # A page from a job's route that answered JSON before; with any query; and repeatedly.
    $says->('/job', type => 'text/html; charset=utf-8', body => '<html>Log in</html>');
    for my $more ('at first', 'and again') {
        my $page = $run->();
        $ends->($page, { %$success, hint => qr/^$html.*$json_before/ }, "a page in place of JSON, $more");
        is($node->invocation('postgres', $page)->{hint} =~ $json_before ? $1 : undef, $spoke_json, '... and its hint names the call that was answered with JSON');
    }
    $ends->($call->('/job?page=2'), { %$success, hint => $json_before }, 'a page in place of JSON, for a call made by hand');
    $doctor->red('last_outcome', 'warning', qr{/$transport/job by job.*succeeded, but: $html.*$json_before}, "$transport: a page in place of JSON");
    $says->('/job');
    $ends->($call->('/job?page=2'), { %$success, hint => undef }, 'JSON again for a call made by hand');
    $ends->($run->(), { %$success, hint => undef }, "JSON again for the job's call");
    $doctor->green('last_outcome', "$transport: JSON again");

    # A route that never answered JSON, or has answered something else since, has the plain hint.
    $says->('/pages', type => 'text/html');
    $says->('/texts', type => 'text/plain');
    $node->finished('postgres', $call->('/texts'));
    $says->('/texts', type => 'text/html');
    for my $path ('/pages', '/texts') {
        my $id  = $call->($path);
        $ends->($id, { %$success, hint => $html }, "a page of $path");
        unlike($node->invocation('postgres', $id)->{hint}, qr/spoke JSON/, '... and its hint does not mention JSON');
    }
    # From a cache, where there was JSON before, and with another status.
    $says->('/both', status => 201);
    $node->finished('postgres', $call->('/both'));
    $says->('/both', status => 202, type => 'TEXT/HTML', headers => ['Age: 5']);
    $ends->($call->('/both'), { status => 'succeeded', http_status => 202, hint => qr/$from_a_cache.*$html.*$json_before/ }, 'the hint of a page from a cache names cache and page');
    $says->('/both', status => 500, type => 'text/html', headers => ['Age: 5']);
    $ends->($call->('/both'), { status => 'failed', http_status => 500, hint => qr/^The route failed/ }, 'a page with an error has only the hint of an error');
    is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation i WHERE to_json(i)::text LIKE '%$secret%'"), 0,
        "$transport: header lines from the app are not repeated");
    $node->safe_psql('postgres', "SELECT wee5_cron.unschedule('of-$transport'); DELETE FROM wee5_cron.invocation WHERE true");
}

Wee5Cron::Editions->needs_the_worker($node);

# Pages and JSON by the thousand, recorded in batches: each page's hint names the JSON before it, and JSON has no such hint.
$node->safe_psql('postgres', "ALTER DATABASE postgres SET wee5_cron.transport = 'builtin'");
$receiver->answers("/many/$_", type => 'text/html') for 1 .. 3;
$node->safe_psql('postgres', <<'SQL');
INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, http_status, response_content_type, finished_at)
SELECT '/many/' || n, 'builtin', 'succeeded', 200, CASE WHEN n < 3 THEN 'application/json' ELSE 'text/plain' END, now() FROM generate_series(1, 3) n;
SELECT count(invoke_cron_endpoint('/many/' || n % 4)) FROM generate_series(1, 4000) n;
SQL
$node->wait_until_all_finished('postgres');
is($node->safe_psql('postgres', <<'SQL'), "/many/0||1000\n/many/1|t|1000\n/many/2|t|1000\n/many/3|f|1000", 'each of thousands of pages has its hint');
SELECT endpoint_path, hint ~ 'spoke JSON', count(*) FROM wee5_cron.invocation WHERE attempts > 0 GROUP BY 1, 2 ORDER BY 1;
SQL

# Too many warnings to list: those left out are counted as those shown.
$node->safe_psql('postgres', <<'SQL');
DELETE FROM wee5_cron.invocation WHERE true;
INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, finished_at, hint)
SELECT '/a/' || n, 'builtin', 'succeeded', now(), 'The answer came from a cache.' FROM generate_series(1, 60) n;
SQL
my $rest = $doctor->red('last_outcome', 'warning', qr/^10 more paths are not listed$/, 'warnings that are not listed');
like($node->safe_psql('postgres', $rest), qr/from a cache/, '... and its hint finds them');
is(scalar(grep { $_->{status} ne 'warning' } $doctor->lines('last_outcome')), 0, '... and no line is an error');
$node->safe_psql('postgres', "INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, reason, finished_at) VALUES ('/z', 'builtin', 'failed', 'http', now())");
$doctor->red('last_outcome', 'error', qr/^11 more paths are not listed$/, 'a failure among those not listed');

unlike(slurp_file($node->logfile), qr/\Q$secret\E/, 'the log does not contain the secret');
unlike(slurp_file($node->logfile), qr/cannot harvest/, '... and no failed harvest');
$node->log_is_sane;
done_testing();
