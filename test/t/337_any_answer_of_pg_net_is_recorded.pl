# Any role may write to pg_net's table of answers, and pg_net keeps whatever a server sends. Whatever a row there says, harvest() records
# it as what it is, and goes on to the next. A stand-in for pg_net keeps the requests, and the test writes the answers.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test fixtures => [ 'pg_net', 'supabase_vault' ];
use Wee5Cron::Editions;

my $secret = 'canary-of-the-hostile-answers';
my $node   = Wee5Cron::Editions->start_on_pg_net('main', api_url => 'https://app.example.com', secret => $secret);

# What a row of the ledger says about each kind of answer.
my %good      = (status => 'succeeded', reason => undef, error => undef, http_status => 200);
my %no_answer = (status => 'failed', reason => 'response', http_status => undef);
my %timeout   = (status => 'failed', reason => 'timeout', http_status => undef);
my %lost      = (status => 'failed', reason => 'lost', http_status => undef);
my %http      = (status => 'failed', reason => 'http');
my %accepted  = (status => 'accepted', http_status => 202, finished_at => undef);
my $long      = 'repeat(\'x\', 3000000)';
my $strange   = q{E'\x1b[31mred\r\nX: y\u202E\u200B\uFFFE\uFEFF\u0001\u007f \'; DROP TABLE x; -- %s %1$s <script>'};

# Columns and values of the answer; undef: the rows are written by a statement of its own, with the request as $1.
my %answer = (
    # The status.
    nothing             => [ q{}, q{}, \%no_answer ],
    timed_out           => [ 'timed_out', 'true', \%timeout ],
    timed_out_and_says  => [ 'timed_out, error_msg', q{true, 'Timeout of 1000 ms reached. Total time: 1000.5 ms'}, \%timeout ],
    says_timeout        => [ 'error_msg', q{'Timeout of 1000 ms reached'}, \%timeout ],
    timed_out_with_200  => [ 'timed_out, status_code', 'true, 200', { %timeout, http_status => 200 } ],
    timed_out_with_500  => [ 'timed_out, status_code', 'true, 500', { %timeout, http_status => 500 } ],
    timed_out_null      => [ 'timed_out, status_code', 'NULL, 200', \%good ],
    error_with_200      => [ 'error_msg, status_code', q{'transfer closed with outstanding read data remaining', 200}, { status => 'failed', reason => 'response', http_status => 200 } ],
    (map { my $code = $_; ("status_$code" => [ 'status_code', "($code)", { status => 'failed', http_status => $code } ]) } -2147483648, -1, 0, 1, 99, 100, 199, 300, 304, 600, 1000, 2147483647),
    status_204          => [ 'status_code', 204, { %good, http_status => 204 } ],
    # The words.
    error_empty         => [ 'error_msg', q{''}, \%no_answer ],
    error_long          => [ 'error_msg', $long, \%no_answer ],
    error_strange       => [ 'error_msg', $strange, \%no_answer ],
    error_secret        => [ 'error_msg', "'the bearer $secret is bad'", \%no_answer ],
    error_secret_late   => [ 'error_msg', "repeat('x', 500) || '$secret'", \%no_answer ],
    error_characters    => [ 'error_msg', q{repeat(U&'\+01F600', 400)}, \%no_answer ],
    type_long           => [ 'status_code, content_type', "200, $long", \%good ],
    type_strange        => [ 'status_code, content_type', "500, $strange", { %http, http_status => 500 } ],
    type_secret         => [ 'status_code, content_type', "200, 'text/$secret'", \%good ],
    # The body.
    body_null           => [ 'status_code, content', '200, NULL', { %good, response_body => undef } ],
    body_empty          => [ 'status_code, content', q{200, ''}, { %good, response_body => '' } ],
    body_long           => [ 'status_code, content', "200, $long", { %good, response_body => qr/^x{8192}\z/, response_truncated => 1 } ],
    body_long_error     => [ 'status_code, content, content_type', "500, '<html>' || $long, 'text/html'", { %http, http_status => 500, response_truncated => 1 } ],
    body_strange        => [ 'status_code, content', "200, $strange", \%good ],
    body_secret         => [ 'status_code, content', "200, '$secret $secret'", { %good, response_body => '[secret] [secret]' } ],
    body_secret_cut     => [ 'status_code, content', "200, repeat('x', 8180) || '$secret' || repeat('x', 100000)", { %good, response_truncated => 1 } ],
    body_secret_margin  => [ 'status_code, content', "200, repeat('x', 16370) || '$secret' || repeat('x', 100000)", { %good, response_truncated => 1 } ],
    body_characters     => [ 'status_code, content', q{200, 'x' || repeat(U&'\+01F600', 10000)}, { %good, response_truncated => 1 } ],
    # The headers.
    (map { my ($name, $headers) = @$_; ("headers_$name" => [ 'status_code, headers', "200, $headers", \%good ]) }
        [ null => 'NULL' ], [ json_null => q{'null'} ], [ array => q{'[1, {"Retry-After": "1"}]'} ], [ text => q{'"Retry-After: 1"'} ], [ number => q{'1e400'} ], [ true => q{'true'} ],
        [ empty => q{'{}'} ], [ nested => q{'{"x": {"y": [1, {"z": null}]}, "": "", "age": ["1"], "x-cache": {"HIT": 1}}'} ], [ many => q{(SELECT jsonb_object_agg('x-' || n, repeat('y', 100)) FROM generate_series(1, 5000) n)} ],
        [ deep => q{(repeat('[', 2000) || repeat(']', 2000))::jsonb} ], [ deep_value => q{('{"age": ' || repeat('[', 2000) || repeat(']', 2000) || '}')::jsonb} ],
        [ long => qq{jsonb_build_object('age', $long, $long, 'x')} ], [ secret => qq{'{"x-echo": "$secret", "age": "$secret"}'} ]),
    (map { my ($name, $headers) = @$_; ("accepted_$name" => [ 'status_code, headers', "202, $headers", \%accepted ]) }
        [ plain => q{'{"Wee5-Cron": "accepted"}'} ], [ lower => q{'{"wee5-cron": "ACCEPTED"}'} ], [ twice => q{'{"Wee5-Cron": "no", "wee5-cron": "accepted"}'} ]),
    (map { my ($name, $headers) = @$_; ("completed_$name" => [ 'status_code, headers', "202, $headers", { %good, http_status => 202 } ]) }
        [ array => q{'{"Wee5-Cron": ["accepted"]}'} ], [ object => q{'{"Wee5-Cron": {"accepted": true}}'} ], [ true => q{'{"Wee5-Cron": true}'} ], [ null => q{'{"Wee5-Cron": null}'} ], [ number => q{'{"Wee5-Cron": 1}'} ]),
    # The time.
    (map { my ($name, $time) = @$_; ("created_$name" => [ 'status_code, created', "200, $time", \%good ]) }
        [ ages_ago => q{'4713-01-01 BC'} ], [ never => q{'-infinity'} ], [ yesterday => q{now() - interval '1 day'} ], [ tomorrow => q{now() + interval '1 day'} ], [ in_ages => q{'294276-12-31'} ], [ infinity => q{'infinity'} ]),
    # The row.
    missing             => [ undef, '', \%lost ],
    deleted             => [ undef, 'INSERT INTO net._http_response (id, status_code) VALUES ($1, 200); DELETE FROM net._http_response WHERE id = $1;', \%lost ],
    twice_alike         => [ undef, 'INSERT INTO net._http_response (id, status_code) VALUES ($1, 200), ($1, 200);', \%good ],
    twice               => [ undef, q{INSERT INTO net._http_response (id, status_code, error_msg) VALUES ($1, 200, NULL), ($1, 500, NULL), ($1, NULL, 'x');}, { attempts => 1 } ],
    twice_by_age        => [ undef, q{INSERT INTO net._http_response (id, status_code, created) VALUES ($1, 200, '-infinity'), ($1, 200, now());}, \%good ],
    of_nobody           => [ undef, q{INSERT INTO net._http_response (id, status_code) VALUES ($1, 200), (NULL, 500), (-1, 500), (0, 500), (9223372036854775807, 500), (-$1, 500);}, \%good ],
);

# Retry-After: when the next attempt is made.
my %retry_after = (
    array => q{["3"]}, object => q{{"3": 3}}, null => 'null', true => 'true', empty => q{""}, negative => '-5', number => '3', fraction => '0.5', large => '1e400', larger => q{"99999999999999999999999"},
    words => q{"soon"}, strange => q{"\u202E3"}, long_ago => q{"Thu, 01 Jan 1970 00:00:00 GMT"}, in_ages => q{"Fri, 31 Dec 9999 23:59:59 GMT"});
$answer{"retry_$_"} = [ 'status_code, headers', qq{503, '{"Retry-After": $retry_after{$_}, "retry-after": "7"}'}, { status => qr/^(?:retrying|failed)$/, http_status => 503, reason => 'http' } ] for keys %retry_after;

# All of them in one transaction, which one harvest sees whole. Between them, ordinary answers.
my @kinds = sort keys %answer;
my $list = join ', ', map { "('$_')" } @kinds;
$node->safe_psql('postgres', "INSERT INTO wee5_cron.endpoint (endpoint_path, max_attempts) SELECT '/hostile/' || k, 1 FROM (VALUES $list, ('ordinary')) v (k) WHERE k NOT LIKE 'retry%'");
$node->safe_psql('postgres', "SELECT count(invoke_cron_endpoint('/hostile/' || k)) FROM (VALUES $list) v (k); SELECT count(invoke_cron_endpoint('/hostile/ordinary')) FROM generate_series(1, 20)");
my (%request, @ordinary);
for my $made ($node->rows('postgres', 'SELECT i.endpoint_path, b.request_id FROM wee5_cron.invocation i JOIN wee5_cron.pg_net_request b ON b.invocation_id = i.id')) {
    my ($kind) = $made->{endpoint_path} =~ m{([^/]*)$};
    $kind eq 'ordinary' ? push @ordinary, $made->{request_id} : ($request{$kind} = $made->{request_id});
}
is(keys(%request) + @ordinary, @kinds + 20, 'each call is handed to pg_net');
my $script = "BEGIN;\n";
for my $kind (@kinds) {
    my $request = $request{$kind};
    my ($columns, $values) = @{ $answer{$kind} };
    $script .= defined $columns
      ? 'INSERT INTO net._http_response (' . join(', ', 'id', $columns || ()) . ') VALUES (' . join(', ', $request, $columns ? $values : ()) . ");\n"
      : ($values =~ s/\$1/$request/gr) . "\n";
}
$script .= "INSERT INTO net._http_response (id, status_code) VALUES ($_, 200);\n" for @ordinary;
$node->safe_psql('postgres', $script . "DELETE FROM net.http_request_queue WHERE true;\nCOMMIT;");
for my $try (1 .. 300) {
    is($node->error_of('postgres', 'SELECT wee5_cron.harvest()'), undef, 'harvest() does not fail');
    last if $node->safe_psql('postgres', 'SELECT count(*) FROM wee5_cron.invocation WHERE attempts = 0') == 0;
}
is($node->safe_psql('postgres', "SELECT string_agg(status, ' ') FROM (SELECT DISTINCT status FROM wee5_cron.invocation WHERE endpoint_path = '/hostile/ordinary') o"), 'succeeded', 'the ordinary answers among them are recorded');

my %row = map { $_->{endpoint_path} => $_ } $node->rows('postgres', 'SELECT * FROM wee5_cron.invocation');
my %attempts;
push @{ $attempts{ $_->{invocation_id} } }, $_ for $node->rows('postgres', 'SELECT * FROM wee5_cron.attempt ORDER BY attempt');
for my $kind (@kinds) {
    my $row = $row{"/hostile/$kind"};
    fields_are($row, $answer{$kind}[2], "$kind: the row says what the answer says");
    my ($attempt, @more) = @{ $attempts{ $row->{id} } // [{}] };
    fields_are($attempt, { attempt => 1, map { $_ => $row->{$_} } qw(reason http_status error) }, '... and so does its one attempt');
    is(scalar @more, 0, '... and there is no other attempt');
    my $failed = $row->{status} =~ /^(?:failed|retrying)$/;
    ok(length $row->{error} && length $row->{hint} && length $row->{reason}, '... with a reason, an error and a hint') if $failed;
    ok(length($row->{error} // '') <= 2000 && length($row->{response_content_type} // '') <= 250 && length($row->{response_body} // '') <= 8192, '... of a length that a person can read');
    unlike($row->{error} // '', qr/[\x00-\x1f\x7f]/, '... and without control characters');
}
my $twice = $row{'/hostile/twice'};
is($twice->{status} eq 'succeeded' ? 200 : $twice->{http_status} // 0, $twice->{http_status} // 0, 'of several answers to one request, the row says what one of them says');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE status = 'retrying' AND next_attempt_at NOT BETWEEN now() - interval '1 minute' AND now() + interval '1 hour'"), 0, 'no Retry-After puts a retry beyond the time for retries');
is($node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM wee5_cron.pg_net_request b JOIN wee5_cron.invocation i ON i.id = b.invocation_id WHERE i.finished_at IS NOT NULL)'), 0, 'no request is left');

# The secret, and what people look at.
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation i WHERE to_json(i)::text LIKE '%$secret%'") + $node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.attempt a WHERE to_json(a)::text LIKE '%$secret%'"), 0, 'the ledger does not contain the secret');
for my $shown ('SELECT wee5_cron.status_page()', 'SELECT string_agg(d::text, chr(10)) FROM wee5_cron.doctor() d', 'SELECT string_agg(wee5_cron.call_page(id), chr(10)) FROM wee5_cron.invocation', 'SELECT wee5_cron.health()', 'SELECT string_agg(m::text, chr(10)) FROM wee5_cron.metrics m') {
    my $text = $node->safe_psql('postgres', $shown);
    ok(length $text, "$shown works with such rows");
    unlike($text, qr/\Q$secret\E/, '... and shows no secret');
    unlike($text, qr/<script>/, '... and no tag of an answer') if $shown =~ /page/;
}
my $log = slurp_file($node->logfile);
unlike($log, qr/cannot be recorded|^.*(?:ERROR|WARNING):.*(?:harvest|answer)/m, 'the log has no word of trouble with an answer');
unlike($log, qr/(?:ERROR|WARNING|LOG|CONTEXT|DETAIL|HINT):(?!\s+(?:statement|execute)).*\Q$secret\E/, '... nor the secret');
is($node->error_of('postgres', "SELECT wee5_cron.complete(idempotency_key) FROM wee5_cron.invocation WHERE status = 'accepted'"), undef, 'accepted calls can be completed');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE status = 'accepted'"), 0, '... and end');

$node->log_is_sane;
done_testing();
