# Whatever the app does, the row says what really happened and what to do about it, and never contains the secret.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

use JSON::PP;

my $secret   = 'canary-of-outcomes-4711';
my $receiver = Wee5Cron::Receiver->start(secret => $secret);
my $node     = Wee5Cron::Node->start_new('main');
$node->install('postgres', api_url => $receiver->url, secret => $secret);

$node->no_retries('postgres', '/down', '/dns', '/tls');

my @attempt_of_failure = qw(http_status reason error);

# Makes one call, and returns what its row and its attempt say.
sub outcome_is {
    my ($name, $path, $invoke, $expected) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $id      = $node->call('postgres', $path, $invoke);
    my $row     = $node->finished('postgres', $id);
    my $attempt = $node->one_row('postgres', "SELECT * FROM wee5_cron.attempt WHERE invocation_id = $id");
    my $failed  = $expected->{status} eq 'failed';
    fields_are(
        $row,
        {
            attempts  => 1,
            transport => 'builtin',
            url       => $receiver->url . $path,
            duration  => qr/^\d\d:\d\d:\d\d/,
            (map { $_ => qr/^2\d{3}-/ } qw(requested_at first_sent_at finished_at)),
            ($failed ? (hint => qr/\w/, error => qr/\w/) : (reason => undef, error => undef, hint => undef)),
            %$expected,
        },
        "$name: the row");
    fields_are(
        $attempt,
        {
            attempt     => 1,
            started_at  => qr/^2\d{3}-/,
            finished_at => qr/^2\d{3}-/,
            total_ms    => qr/^[\d.e-]+$/,
            map { $_ => $row->{$_} } @attempt_of_failure,
        },
        "$name: the attempt says the same as the row");
    return $row;
}

my $row = outcome_is('200', '/status/200', undef,
    { status => 'succeeded', http_status => 200, response_content_type => qr{application/json}, response_body => qr/200/ });
outcome_is('204', '/status/204', undef, { status => 'succeeded', http_status => 204 });
outcome_is('500', '/status/500', undef,
    { status => 'failed', reason => 'http', http_status => 500, error => qr/500/, response_body => qr/500/ });
outcome_is('401', '/status/401', undef,
    { status => 'failed', reason => 'http', http_status => 401, error => qr/401/, hint => qr/cron_secret/ });
outcome_is('404', '/status/404', undef, { status => 'failed', reason => 'http', http_status => 404, error => qr/404/ });
outcome_is('an HTML page with 404',
    '/html?status=404', undef, { status => 'failed', reason => 'http', http_status => 404, response_content_type => qr{text/html} });
outcome_is('an HTML page with 200',
    '/html', undef, { status => 'succeeded', http_status => 200, hint => qr/JSON/, response_content_type => qr{text/html} });

# Redirects are not followed, wherever they lead.
$row = outcome_is('a redirect', '/redirect?status=307&to=/redirected', undef,
    { status => 'failed', reason => 'redirect', http_status => 307, error => qr/307/ });
$row = outcome_is('a redirect elsewhere', '/redirect?to=https:%2F%2Fevil.example/x', undef,
    { status => 'failed', reason => 'redirect', http_status => 308 });
unlike($row->{hint}, qr/api_url\W+['"]?https?:\/\/evil/, '... and its hint does not name the host of the redirect as api_url');
is(scalar(my @followed = $receiver->requests('/redirected')), 0, 'no redirect was followed');

# A slow answer.
$row = outcome_is('a slow app', '/slow?ms=20000', "timeout => '300 ms'",
    { status => 'failed', reason => 'timeout', http_status => undef, hint => qr/timeout/ });
my $took = $node->safe_psql('postgres', "SELECT duration >= '290 ms' FROM wee5_cron.invocation WHERE id = $row->{id}");
is($took, 't', '... and its duration is at least the timeout');
outcome_is('a slow app within the timeout', '/slow?ms=300', "timeout => '30 s'", { status => 'succeeded', http_status => 200 });

# Broken answers. A kept-alive connection exists by now. A request on a connection that dies is not sent a second time.
outcome_is('a dropped connection', '/drop', undef, { status => 'failed', reason => 'response', http_status => undef });
outcome_is('a dropped POST', '/x/drop', "method => 'POST'", { status => 'failed', reason => 'response', http_status => undef });
is(scalar(my @drops = $receiver->requests(qr{/drop$})), 2, 'a request whose connection breaks is sent only once');
outcome_is('an answer that breaks off', '/truncated', undef, { status => 'failed', reason => 'response' });
outcome_is('no HTTP', '/garbage', undef, { status => 'failed', reason => 'response', http_status => undef });

# Bodies.
$row = outcome_is('a big body', '/big?bytes=100000', undef,
    { status => 'succeeded', http_status => 200, response_truncated => 1 });
is(length $row->{response_body}, 8192, '... and max_response_bytes of the body are kept');
$row = outcome_is('a huge body', '/big?bytes=5000000', undef,
    { status => 'succeeded', http_status => 200, response_truncated => 1 });
is(length $row->{response_body}, 8192, '... and is cut to max_response_bytes too');
$row = outcome_is('a body that is no text', '/binary', undef, { status => 'succeeded', response_truncated => 0 });
like($row->{response_body}, qr/^a.*b.*c$/s, '... and has its invalid bytes replaced');
unlike($row->{response_body}, qr/\0/, '... and contains no NUL');
$row = outcome_is('a small body', '/status/200', undef, { status => 'succeeded', response_truncated => 0 });

# The caller's method, headers and body arrive.
my $chosen = <<'SQL';
method => 'post', body => '{"who": "Zoë", "n": [1, 2]}', headers => '{"X-Team": "blue", "Accept-Language": "de"}'
SQL
$row = outcome_is('a POST', '/echo?of=post', $chosen, { status => 'succeeded', method => 'POST' });
my ($post) = $receiver->requests('/echo');
fields_are($post, { method => 'POST', url => '/echo?of=post', bearer => 'match', body => qr/"n": ?\[1, ?2\]/ },
    'a POST arrives with its method, query, bearer and body');
fields_are(
    $post->{headers},
    {
        'x-team'          => 'blue',
        'accept-language' => 'de',
        'content-type'    => 'application/json',
        'cache-control'   => 'no-cache',
        'user-agent'      => qr{^wee5_cron/\d+\.\d+\.\d+$},
    },
    'a POST arrives with its headers');
is(JSON::PP->new->decode($post->{body})->{who}, "Zo\x{eb}", 'the body arrives as UTF-8');

for my $method (qw(PUT PATCH DELETE HEAD GET)) {
    my $path = lc "/by-$method";
    outcome_is($method, $path, "method => '$method'", { status => 'succeeded', method => $method });
    my ($request) = $receiver->requests($path);
    my $body = $method =~ /^P/ ? '{}' : '';
    fields_are($request, { method => $method, body => $body, bearer => 'match' }, "a $method request arrives unchanged");
    is($request->{headers}{'content-type'}, $body eq '' ? undef : 'application/json', '... with a Content-Type only if it has a body');
}

# The headers of every call.
$row = outcome_is('identity', '/identity', undef, { status => 'succeeded' });
my ($identity) = $receiver->requests('/identity');
fields_are(
    $identity->{headers},
    {
        'idempotency-key'        => $row->{idempotency_key},
        'x-wee5-cron-invocation' => $row->{id},
        'x-wee5-cron-attempt'    => 1,
        'host'                   => '127.0.0.1:' . $receiver->port,
    },
    'a call identifies itself in its headers');
ok(!(grep { /^(?:x-wee5-cron-(?:job|scheduled-at)|x-vercel-cron-schedule)$/ } keys %{ $identity->{headers} }),
    'a call made by hand has no job headers');
fields_are($row, { job_name => undef, scheduled_at => undef, cron_run_id => undef, requested_by => qr/^\w+$/ },
    '... and no job in its row');

# An app that repeats the secret in its answer.
for my $status (200, 308, 500) {
    outcome_is("an app that answers $status with the secret in it", "/leak?status=$status", undef,
        { http_status => $status, status => $status == 200 ? 'succeeded' : 'failed', reason => $status == 200 ? undef : qr/./ });
}

# Databases whose encoding is not UTF-8: requests are converted to UTF-8, and answers to the database's encoding.
for my $encoding (qw(LATIN1 SQL_ASCII)) {
    local $ENV{PGCLIENTENCODING} = $encoding eq 'LATIN1' ? 'UTF8' : 'SQL_ASCII';
    my $database = lc $encoding;
    $node->safe_psql('postgres', "CREATE DATABASE $database ENCODING '$encoding' TEMPLATE template0 LOCALE 'C'");
    $node->install($database, api_url => $receiver->url, secret => $secret);
    my $path = "/gr\xc3\xb6\xc3\x9fe-$database/echo?of=\xc3\xbc";
    my $id   = $node->call($database, $path, qq{method => 'POST', body => '{"who": "Zo\xc3\xab"}', headers => '{"X-Who": "Zo\xc3\xab"}'});
    my $row  = $node->finished($database, $id);
    fields_are($row, { status => 'succeeded', url => $receiver->url . "/gr%C3%B6%C3%9Fe-$database/echo?of=%C3%BC", response_body => qr/Zo\x{eb}/ },
        "$encoding: the request's path is encoded as UTF-8, and the answer is stored in the database's encoding");
    is($row->{endpoint_path}, "/gr\xf6\xdfe-$database/echo?of=\xfc", '... and the row keeps the path as it was given');
    my ($request) = $receiver->requests(qr{^/gr%C3%B6%C3%9Fe-$database/echo$});
    is(JSON::PP->new->decode($request->{body})->{who}, "Zo\x{eb}", '... and the body is sent as UTF-8');
    $row = $node->finished($database, $node->call($database, '/binary'));
    like($row->{response_body}, qr/^a[^\0]*b[^\0]*c$/s, '$encoding: invalid bytes in an answer are replaced');
}

# The app is down.
$receiver->close_port;
outcome_is('an app that is down', '/down', undef,
    { status => 'failed', reason => 'connect', http_status => undef, hint => qr/\w/ });
$receiver->open_port;
outcome_is('the app is up again', '/up', undef, { status => 'succeeded' });

# A name that every resolver refuses. Its label of 64 characters is refused without asking the network.
my $nowhere = 'http://' . ('a' x 64) . '.internal';
$node->configure('postgres', api_url => $nowhere);
outcome_is('a host that does not exist', '/dns', undef,
    { status => 'failed', reason => 'dns', http_status => undef, url => "$nowhere/dns" });

# A certificate that no known authority signed, which is then made trusted.
my ($cert, $key) = map { PostgreSQL::Test::Utils::tempdir() . "/$_.pem" } qw(cert key);
system_or_bail('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', 2, '-subj', '/CN=wee5_cron test',
    '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', $key, '-out', $cert);
my $tls = Wee5Cron::Receiver->start(secret => $secret, tls => { cert => $cert, key => $key });
$node->configure('postgres', api_url => $tls->url);
outcome_is('an unknown certificate', '/tls', undef,
    { status => 'failed', reason => 'tls', http_status => undef, url => $tls->url . '/tls' });
is(scalar(my @told = $tls->requests), 0, '... and nothing was sent');
$node->set_server('wee5_cron.ca_file', $cert);
outcome_is('its CA in wee5_cron.ca_file', '/trusted', undef, { status => 'succeeded', url => $tls->url . '/trusted' });

# No row contains the secret.
my $found = $node->safe_psql('postgres', <<SQL);
SELECT count(*) FROM (SELECT to_json(i)::text AS row FROM wee5_cron.invocation i
                      UNION ALL SELECT to_json(a)::text FROM wee5_cron.attempt a) rows
WHERE row LIKE '%$secret%' OR row LIKE '%' || encode('$secret', 'base64') || '%'
SQL
is($found, 0, 'no row contains the secret, even though an app sent it back');

$node->log_is_sane;
done_testing();
