# Routes that require something of their request: a Content-Type only with a body, a User-Agent, a URL in the query. Also
# what every request carries: its trace, and its timeout.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Editions;
use Wee5Cron::Fastify;
use Wee5Cron::Test;

use Digest::SHA qw(sha256_hex);

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node     = Wee5Cron::Editions->start_node('main');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');

# The last request of a path.
sub heard { my ($path) = @_; my @requests = $receiver->requests($path); return $requests[-1] // {} }

sub called {
    my ($path, $choices) = @_;
    return $node->finished('postgres', $node->call('postgres', $path, $choices));
}

# A query may contain two slashes and a backslash. In the path they could change where the call goes.
my $url = '/callback?next=https://app.example/y&back=a\b//';
fields_are(called($url), { status => 'succeeded', endpoint_path => $url }, 'a path whose query contains a URL is accepted');
is(heard('/callback')->{url}, '/callback?next=https://app.example/y&back=a%5Cb//', '... and arrives unchanged');
called($url, "'POST'");
is(heard('/callback')->{method}, 'POST', '... and so does a call to it with another method');
$node->safe_psql('postgres', "INSERT INTO wee5_cron.endpoint (endpoint_path, method) VALUES (\$\$$url\$\$, 'DELETE')");
called($url);
is(heard('/callback')->{method}, 'DELETE', 'an endpoint row for such a path applies');
$node->safe_psql('postgres', "SELECT wee5_cron.schedule('callback', '0 0 1 1 *', '/job?next=https://app.example//')");
is($node->finished('postgres', $node->safe_psql('postgres', "SELECT wee5_cron.run_now('callback')"))->{status}, 'succeeded', 'a job can call such a path');
for my $path ('/a//b?c', '//a?b=//', '/a\b?c=d', '/a/..?b=//') {
    $node->raises('postgres', "SELECT invoke_cron_endpoint('$path')", '22023', "the path $path is refused", message => qr/invalid endpoint path/);
}

# Content-Type only with a body.
for my $case ([ 'a GET', undef ], [ 'a DELETE', "'DELETE'" ], [ 'a DELETE with a body', q{'DELETE', '{"a": 1}'}, 1 ],
    [ 'a POST without a body', "'POST'", 1 ], [ 'a POST of null', q{'POST', 'null'}, 1 ], $node->is_portable ? () : [ 'a PUT without a body', "'PUT'", 1 ]) {
    my ($name, $choices, $typed) = @$case;
    fields_are(called('/strict', $choices), { status => 'succeeded', http_status => 200 }, "$name to a route that wants no empty JSON");
    is(heard('/strict')->{headers}{'content-type'}, $typed ? 'application/json' : undef, $typed ? '... has a type' : '... has no type');
}
unless ($node->is_portable) {
    my $id = $node->safe_psql('postgres',
        "INSERT INTO wee5_cron.invocation (endpoint_path, method, transport) VALUES ('/strict', 'POST', 'builtin') RETURNING id");
    $node->safe_psql('postgres', 'SELECT wee5_cron.wake_worker()');
    fields_are($node->finished('postgres', $id), { status => 'succeeded' }, 'a POST without a body that was inserted into the ledger is sent');
    is(heard('/strict')->{body}, '{}', '... with the body {}');
}
for my $method ($node->is_portable ? () : 'HEAD', 'GET') {
    called('/bare', "'$method'");
    ok(!exists heard('/bare')->{headers}{'content-type'} && !exists heard('/bare')->{headers}{'content-length'}, "$method sends neither a Content-Type nor a Content-Length");
}

# The User-Agent, set by the call or by an endpoint row.
like((called('/agent'), heard('/agent'))[1]{headers}{'user-agent'}, qr{^wee5_cron/\d}, 'the default User-Agent names wee5_cron and its version');
called('/agent', q{headers => '{"User-Agent": "vercel-cron/1.0"}'});
is(heard('/agent')->{headers}{'user-agent'}, 'vercel-cron/1.0', 'a User-Agent of the call replaces the default');
$node->safe_psql('postgres', q{INSERT INTO wee5_cron.endpoint (endpoint_path, headers) VALUES ('/agent', '{"user-agent": "vercel-cron/1.0 (row)"}')});
called('/agent');
is(heard('/agent')->{headers}{'user-agent'}, 'vercel-cron/1.0 (row)', 'a User-Agent of an endpoint row replaces the default');

# No caller may set a header that changes how the connection is used.
for my $header ('Proxy-Authorization', 'proxy-connection', 'Expect', 'TE', 'Trailer', 'upgrade', 'Content-Type', 'X-Wee5-Cron-Timeout-Ms') {
    $node->raises('postgres', qq{SELECT wee5_cron.invoke('/x', headers => '{"$header": "value-of-it"}')}, '22023', "$header is refused to a call",
        message => qr/header "$header" cannot be set by a caller/);
    $node->raises('postgres', qq{INSERT INTO wee5_cron.endpoint (endpoint_path, headers) VALUES ('/x', '{"$header": "value-of-it"}')}, '22023',
        '... and to an endpoint row', message => qr/header "$header" cannot be set by a caller/);
}

# The trace: derived from the key, which it does not reveal, with a new parent for each attempt.
$node->policy('postgres', '/statuses/503,503,200', retry_delays => '{0}');
my $row = called('/statuses/503,503,200?retry_after=0');
my @spans = map { $_->{headers}{traceparent} } $receiver->requests('/statuses/503,503,200');
my $trace = substr sha256_hex("trace$row->{idempotency_key}"), 0, 32;
is_deeply(\@spans, [ map { sprintf '00-%s-%016x-01', $trace, ($row->{id} << 16) + $_ } 1 .. 3 ], 'each attempt is a span of the call\'s trace');
called('/traced', q{headers => '{"Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}'});
is(heard('/traced')->{headers}{traceparent}, '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', 'a traceparent of the call replaces ours');
$node->set_database('postgres', trace => 'unsampled');
like((called('/traced'), heard('/traced'))[1]{headers}{traceparent}, qr/-00$/, "with wee5_cron.trace = 'unsampled' the traceparent says so");
$node->set_database('postgres', trace => 'off');
ok(!exists((called('/traced'), heard('/traced'))[1]{headers}{traceparent}), "with wee5_cron.trace = 'off' there is no traceparent");
$node->raises('postgres', $node->is_portable ? "SELECT wee5_cron.set('trace', 'sometimes')" : "SET wee5_cron.trace = 'sometimes'", '22023', 'wee5_cron.trace refuses any other word');
$node->set_database('postgres', trace => undef);

# How long the attempt may take.
is((called('/limit'), heard('/limit'))[1]{headers}{'x-wee5-cron-timeout-ms'}, $node->is_portable ? 30_000 : 60_000, 'the header X-Wee5-Cron-Timeout-Ms holds wee5_cron.request_timeout');
called('/limit', q{timeout => '90.5 s'});
is(heard('/limit')->{headers}{'x-wee5-cron-timeout-ms'}, 90_500, '... or the timeout of the call');
$node->policy('postgres', '/limit', timeout => '7 s');
called('/limit');
is(heard('/limit')->{headers}{'x-wee5-cron-timeout-ms'}, 7_000, '... or the timeout of an endpoint row');
$node->set_database('postgres', request_timeout => '12s');
is((called('/default'), heard('/default'))[1]{headers}{'x-wee5-cron-timeout-ms'}, 12_000, '... or the request_timeout stored for the database');

Wee5Cron::Editions->needs_the_worker($node);

# An app that validates its requests strictly.
SKIP: {
    skip Wee5Cron::Fastify::missing(), 1 if Wee5Cron::Fastify::missing();
    my $fastify = Wee5Cron::Fastify->start(secret => 'the secret');
    $node->configure('postgres', api_url => $fastify->url);
    for my $case ([ 'GET' ], [ 'HEAD' ], [ 'POST', undef, '{}' ], [ 'POST', '{"a": [1]}', '{"a":[1]}' ], [ 'POST', 'null', 'null' ], [ 'PUT', undef, '{}' ],
        [ 'PATCH', '{"a": 1}', '{"a":1}' ], [ 'DELETE' ], [ 'DELETE', '{"a": 1}', '{"a":1}' ]) {
        my ($method, $body, $heard) = @$case;
        my $choices = "method => '$method'" . (defined $body ? ", body => '$body'" : '');
        fields_are(called('/route', $choices),
            { status => 'succeeded', http_status => 200, response_body => $method eq 'HEAD' ? '' : qq({"method":"$method","body":@{[ $heard // 'null' ]}}) },
            "Fastify accepts a call with $choices");
    }
    fields_are(called('/route'), { status => 'succeeded', http_status => 200 }, 'Fastify accepts a call without choices');
}

$node->log_is_sane;
done_testing();
