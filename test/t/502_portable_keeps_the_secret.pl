# The portable edition when others try to get the bearer: by settings of a session, by objects that they create, or from what
# it leaves behind.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test fixtures => [ 'pg_net', 'supabase_vault' ];
use Wee5Cron::App;
use Wee5Cron::Hosted;
use Wee5Cron::Targets;

my $secret   = 'canary-of-the-portable-secret';
my $receiver = Wee5Cron::Receiver->start(secret => $secret);
my $evil     = Wee5Cron::Receiver->start(secret => $secret);
my $node     = Wee5Cron::Hosted->start_new('main');
$node->install_portable;
$node->as_owner("SELECT wee5_cron.set('default_jobs', 'off'); SELECT wee5_cron.configure('@{[ $receiver->url ]}', '$secret')");
$node->remove_harvest_job;
$node->as_owner("CREATE ROLE caller LOGIN; CREATE ROLE operator LOGIN; CREATE ROLE nobody LOGIN; GRANT CREATE ON SCHEMA public TO nobody");
$node->as_owner("SELECT wee5_cron.grant_to('caller', 'call'); SELECT wee5_cron.grant_to('operator', 'operate')");

# No setting of a session applies.
my $url = $evil->url;
my $strings = $node->standard_strings_off;
my $id = (split /\n/, $node->psql_as('caller', 'postgres', <<"SQL"))[-1];
SET app.settings.api_url = '$url'; SET app.settings.cron_secret = 'x'; SET wee5_cron.vault_api_url = 'x'; SET wee5_cron.request_timeout = '1ms';
SET wee5_cron.enabled = off; SET wee5_cron.alert_url = '$url'; SET wee5_install.search_path = 'nowhere'; SET search_path = nowhere; SET $strings;
SELECT public.invoke_cron_endpoint('/status/200');
SQL
$node->deliver_and_harvest;
fields_are($node->invocation('postgres', $id), { status => 'succeeded', requested_by => 'caller', url => qr/^\Q@{[ $receiver->url ]}\E/ }, 'a caller with EXECUTE cannot redirect a call by SET');
is(scalar(() = $evil->requests('/status/200')), 0, '... and the other app gets no request');

(undef, undef, my $warned) = $node->psql('postgres', "SET $strings; SELECT count(*) FROM wee5_cron.doctor(); SELECT count(*) FROM wee5_cron.job_status; SELECT wee5_cron.harvest(); SELECT * FROM wee5_cron.fault_of_path('/a/bc/d')", extra_params => [ '-U', 'postgres' ]);
is($warned, '', "with $strings no function prints a warning");
is($node->as_owner("SET quote_all_identifiers = on; SELECT wee5_cron.is_ours('pg_class', 'wee5_cron.invocation'::regclass), wee5_cron.is_ours('pg_class', 'pg_class'::regclass), (SELECT string_agg(detail, '; ') FROM wee5_cron.doctor() WHERE check_name = 'ledger_tables' AND status <> 'ok')"), 't|f|', 'with quote_all_identifiers = on wee5_cron finds its own objects');

# Which role may do what.
$node->raises('postgres', "SELECT invoke_cron_endpoint('/x')", '42501', 'a role without a grant may not make calls', role => 'nobody');
$node->raises('postgres', $_, '42501', "a caller may not: $_", role => 'caller')
  for "SELECT wee5_cron.set('enabled', 'off')", "SELECT * FROM wee5_cron.setting", 'SELECT * FROM wee5_cron.find_settings()', "SELECT wee5_cron.hand_to_pg_net(NULL, 1, 'x', 'x', '{}', '{}')", 'SELECT wee5_cron.uninstall()', 'SELECT * FROM wee5_cron.invocation';
$node->raises('postgres', "SELECT wee5_cron.set('alert_url', '$url')", '42501', 'an operator may not use set()', role => 'operator');
$node->raises('postgres', "SELECT wee5_cron.configure('$url')", '42501', 'an operator may not change only the address, to which the stored secret would be sent', role => 'operator', hint => qr/Give the secret as well/);
is($node->error_of('postgres', "SELECT wee5_cron.configure('@{[ $receiver->url ]}', '$secret')", role => 'operator'), undef, 'an operator may replace address and secret together');

# Objects that another role created.
my %planted = (
    'a trigger on the queue' => [ 'CREATE OR REPLACE FUNCTION public.spy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$; CREATE TRIGGER spy BEFORE INSERT ON net.http_request_queue FOR EACH ROW EXECUTE FUNCTION public.spy()', 'DROP TRIGGER spy ON net.http_request_queue', qr/has a trigger/ ],
    'a rule on the queue'    => [ 'CREATE RULE spy AS ON INSERT TO net.http_request_queue DO ALSO NOTIFY spied', 'DROP RULE spy ON net.http_request_queue', qr/has a rule/ ],
    'a policy on the queue'  => [ 'CREATE POLICY spy ON net.http_request_queue USING (true)', 'DROP POLICY spy ON net.http_request_queue', qr/has a policy/ ],
    'an overload of http_get' => [ 'CREATE FUNCTION net.http_get(url text, headers jsonb, timeout_milliseconds int) RETURNS bigint LANGUAGE sql AS $$ SELECT 1::bigint $$', 'DROP FUNCTION net.http_get(text, jsonb, int)', qr/net\.http_get\(\.\.\.\) does not belong to the extension pg_net/ ],
);
for my $what (sort keys %planted) {
    my ($plant, $pull, $message) = @{ $planted{$what} };
    $node->safe_psql('postgres', $plant);
    $node->raises('postgres', "SELECT invoke_cron_endpoint('/x')", '55000', "$what: no call", role => 'caller', message => $message);
    $node->safe_psql('postgres', $pull);
}
$node->safe_psql('postgres', 'CREATE TRIGGER spy BEFORE UPDATE ON vault.secrets FOR EACH ROW EXECUTE FUNCTION public.spy()');
$node->raises('postgres', "SELECT wee5_cron.configure('@{[ $receiver->url ]}', '$secret')", '55000', 'a trigger on Vault: nothing is stored', role => 'operator', message => qr/trigger "spy"/);
$node->safe_psql('postgres', 'DROP TRIGGER spy ON vault.secrets');

# A transaction that began before somebody planted the object.
for my $level ('REPEATABLE READ', 'SERIALIZABLE') {
    for my $what (sort grep { !/policy/ } keys %planted) {
        my ($plant, $pull) = @{ $planted{$what} };
        my $session = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'caller' ]);
        $session->query("\\set VERBOSITY verbose\n BEGIN ISOLATION LEVEL $level; SELECT count(*) FROM pg_class");
        $node->safe_psql('postgres', $plant);
        $session->query("SELECT invoke_cron_endpoint('/x')");
        like($session->{stderr}, qr/55000: .*(?:cannot see|does not belong)/, "$level: $what that this transaction cannot see: no call");
        $session->quit;
        $node->safe_psql('postgres', $_) for $pull, 'VACUUM net.http_request_queue';
    }
    is($node->error_of('postgres', "BEGIN ISOLATION LEVEL $level; SELECT invoke_cron_endpoint('/status/200'); COMMIT", role => 'caller'), undef, '... and without any, a call is made');
}
my $late = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'operator' ]);
$late->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class');
$node->safe_psql('postgres', 'CREATE TRIGGER spy BEFORE UPDATE ON vault.secrets FOR EACH ROW EXECUTE FUNCTION public.spy()');
$late->query("SELECT wee5_cron.configure('@{[ $receiver->url ]}', '$secret')");
like($late->{stderr}, qr/vault\.secrets may have a trigger that this transaction cannot see/, '... and nothing is stored in Vault');
$late->quit;
$node->safe_psql('postgres', 'DROP TRIGGER spy ON vault.secrets');

# Operators and functions of the caller's own search_path do not run as the owner.
$node->psql_as('nobody', 'postgres', <<'SQL');
CREATE FUNCTION public.coalesce_spy(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'planted as %', current_user; END $$;
CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.coalesce_spy);
CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'planted as %', current_user; END $$;
SQL
is($node->error_of('postgres', "SET search_path = public, pg_catalog; SELECT public.invoke_cron_endpoint('/status/200'); SELECT * FROM wee5_cron.doctor(); SELECT * FROM wee5_cron.job_status; SELECT wee5_cron.harvest()", role => 'operator'), undef, 'operators and functions that another role planted are not run');
$node->safe_psql('postgres', 'DROP OPERATOR public.= (text, text); DROP FUNCTION public.now()');

# The secret is nowhere else.
$node->as_owner("SELECT wee5_cron.set('alert_url', '@{[ $receiver->url ]}/status/200?token=canary-of-the-webhook')");
$node->policy('postgres', '/leak', alert_after => 1, max_attempts => 1);
$node->as_owner("SELECT invoke_cron_endpoint('/leak?status=500')");
$node->deliver_and_harvest;
$node->deliver_and_harvest;
is($node->as_owner("SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = 'wee5_cron.alert' AND status = 'succeeded' AND url = '@{[ $receiver->url ]}'"), 1, 'an alert is sent to the webhook, and its row has only the origin of the address');
my ($alert) = grep { $_->{url} =~ /token=canary-of-the-webhook/ } $receiver->requests('/status/200');
is($alert->{bearer}, 'none', '... without the bearer');
# A rule that both editions share may refuse a call when it is handed over. Its hint says how to change the setting here.
is($node->as_owner(q{WITH c AS (INSERT INTO wee5_cron.invocation (endpoint_path, transport, next_attempt_at) VALUES ('/refused', 'pg_net', 'infinity') RETURNING id)
    SELECT id FROM c \gset
    SELECT wee5_cron.keep_send_error(:id, '55000', 'refused', 'Give the address: ALTER SYSTEM SET wee5_cron.alert_url = ''https://hooks.example.com/...''; SELECT pg_reload_conf();');
    SELECT status || ' ' || hint FROM wee5_cron.invocation WHERE id = :id}),
    "f\nfailed Give the address: SELECT wee5_cron.set('alert_url', 'https://hooks.example.com/...');", 'a call that cannot be handed over fails with a hint that a project owner can follow');
my @tables = split /\n/, $node->safe_psql('postgres', "SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'wee5_cron'::regnamespace AND c.relkind = 'r' AND c.relname <> 'setting'");
for my $canary ($secret, 'canary-of-the-webhook') {
    my @holding = grep { $node->safe_psql('postgres', "SELECT count(*) FROM $_ t WHERE t::text LIKE '%$canary%'") > 0 } @tables;
    is("@holding", '', "no table contains $canary");
    is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.doctor() d WHERE d::text LIKE '%$canary%'"), 0, '... and doctor() does not show it');
}
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.setting s WHERE s::text LIKE '%$secret%'"), 0, 'the table of settings does not contain the secret');
# The receiver repeats the secret part of the webhook's address, without the rest.
$node->as_owner("SELECT wee5_cron.set('alert_url', '@{[ $receiver->url ]}/hooks/canary-of-the-hook/token')");
is($node->as_owner("SELECT wee5_cron.redact_for('postgres', 'no route for hooks/canary-of-the-hook/token')"), 'no route for [secret]', "the secret part of the webhook's address is redacted, even alone");
$node->as_owner("SELECT wee5_cron.set('alert_url', NULL)");

# Two sessions at once: the owner moves the app and changes the secret, while the operator's configure() has the old address
# and no secret.
my $owner    = $node->background_psql('postgres', extra_params => [ '-U', 'postgres' ]);
my $moved_to = $evil->url;
$owner->query_safe("SET client_min_messages = error; BEGIN; SELECT wee5_cron.configure('$moved_to', '$secret-2')");
my $operator = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'operator' ]);
$operator->query_until(qr/asked/, "\\echo asked\nSELECT wee5_cron.configure('@{[ $receiver->url ]}');\n");
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE usename = 'operator' AND wait_event_type = 'Lock'") or die "nobody waits\n";
$owner->query_safe('COMMIT');
$operator->quit;
$owner->quit;
is($node->as_owner("SELECT api_url FROM wee5_cron.find_settings()"), $moved_to, 'configure() compares with the values stored when its turn comes, so no secret is sent to another address');
$node->as_owner("SELECT wee5_cron.configure('@{[ $receiver->url ]}', '$secret')");

# Vault becomes unreadable, while an older address and secret are still stored elsewhere.
my $leaking = $node->as_owner("SELECT invoke_cron_endpoint('/leak?status=400')");
$node->safe_psql('postgres', "ALTER DATABASE postgres SET app.settings.api_url = '$url'; ALTER DATABASE postgres SET app.settings.cron_secret = 'an older secret of the app'");
is($node->as_owner('SELECT api_url_source || cron_secret_source FROM wee5_cron.find_settings()'), 'vaultvault', 'Vault takes precedence over values stored by ALTER DATABASE');
sub doctor_says { return $node->as_owner("SELECT status || ' ' || detail FROM wee5_cron.doctor() WHERE check_name = '$_[0]'") }
like(doctor_says('hidden_settings'), qr/^warning ALTER DATABASE once stored app\.settings\.api_url, app\.settings\.cron_secret\. /, '... and doctor() names the values that do not count');
$node->as_owner("SELECT wee5_cron.set('request_timeout', '45s')");
like(doctor_says('request_timeout'), qr/^warning .* is 45s/, 'doctor() warns of a long timeout, which delays all calls of pg_net');
$node->as_owner("SELECT wee5_cron.set('request_timeout', NULL); INSERT INTO wee5_cron.endpoint (endpoint_path, timeout) VALUES ('/long', '2 minutes')");
like(doctor_says('request_timeout'), qr{^warning .*: /long$}, '... also of that of a policy');
$node->as_owner("DELETE FROM wee5_cron.endpoint WHERE endpoint_path = '/long'");
$node->safe_psql('postgres', q{CREATE TABLE public.nonces AS SELECT id, nonce FROM vault.secrets; UPDATE vault.secrets SET nonce = '\x00'});
$node->deliver_and_harvest;
fields_are($node->invocation('postgres', $leaking), { status => 'failed', http_status => 400, response_body => qr/^\[not kept: Vault cannot be read/ }, 'an answer is not stored while the secret that it may repeat is unknown');
unlike($node->as_owner("SELECT i::text FROM wee5_cron.invocation i WHERE id = $leaking"), qr/\Q$secret\E/, '... and no other column of its row has the secret');
like($node->as_owner("SELECT wee5_cron.redact_for('postgres', 'the answer')"), qr/^\[not kept/, '... and redact_for() returns no text');
$node->raises('postgres', "SELECT invoke_cron_endpoint('/x')", '55000', 'the older address and secret do not stand in for Vault', role => 'caller', message => qr/^app\.settings\.api_url is not set, and Vault cannot be read: invalid ciphertext/);
is($node->as_owner("SELECT string_agg(DISTINCT check_name, ' ') FROM wee5_cron.doctor() WHERE status = 'error' AND detail LIKE '%Vault cannot be read%'"), 'api_url cron_secret', '... and doctor() reports that Vault cannot be read');
$node->raises('postgres', "SELECT wee5_cron.configure($_)", '22023', "configure($_) says that Vault cannot be read", role => 'postgres', message => qr/^app\.settings\.\w+ is not set, and Vault cannot be read: invalid ciphertext/, hint => qr/DELETE FROM vault\.secrets/)
  for '', "'https://app.example.com'";
$node->safe_psql('postgres', 'UPDATE vault.secrets s SET nonce = n.nonce FROM public.nonces n WHERE n.id = s.id; ALTER DATABASE postgres RESET app.settings.api_url; ALTER DATABASE postgres RESET app.settings.cron_secret');

# pg_net lets every role write to the table of answers, so any answer may stand there.
my @odd_answers = ("-5, NULL, '\"text\"', NULL", "2147483647, repeat('x', 100000), '{\"retry-after\": [1, 2]}', repeat('y', 100000)", "NULL, NULL, '[[]]', NULL", q{429, '', '{"Retry-After": 99999999999999999999999}', ''}, q{202, '', '{"Wee5-Cron": ["accepted"]}', ''}, q{200, E'\\x01', 'null', E'\\x01'});
my @asked = split /\n/, $node->as_owner("BEGIN; SELECT invoke_cron_endpoint('/odd?' || n) FROM generate_series(1, @{[ scalar @odd_answers ]}) n; INSERT INTO wee5_cron.endpoint (endpoint_path, max_attempts) VALUES ('/odd', 1); UPDATE wee5_cron.pg_net_request SET request_id = -invocation_id WHERE request_id > 0; DELETE FROM net.http_request_queue WHERE id > 0; COMMIT");
$node->psql_as('nobody', 'postgres', "INSERT INTO net._http_response (id, status_code, content_type, headers, content) VALUES (-$asked[$_], $odd_answers[$_])") for 0 .. $#odd_answers;
$node->as_owner('SELECT wee5_cron.harvest()');
is($node->as_owner("SELECT string_agg(status || coalesce(http_status, 0), ' ' ORDER BY id) FROM wee5_cron.invocation WHERE endpoint_path LIKE '/odd%'"), 'failed-5 failed2147483647 failed0 failed429 succeeded202 succeeded200', 'answers of any shape are recorded, and none stops another');

# A new secret before the app has it: the previous one is tried once, and only the app gets it.
my $app = Wee5Cron::App->start(secret => $secret);
$node->as_owner("SELECT wee5_cron.configure('@{[ $app->url ]}', '$secret'); SELECT wee5_cron.configure(cron_secret => '$secret-of-tomorrow')");
is($node->safe_psql('postgres', q{SELECT decrypted_secret::json ->> 'secret' FROM vault.decrypted_secrets WHERE name = 'cron_secret_previous'}), $secret, 'configure() keeps the previous secret in Vault');
$id = $node->as_owner("SELECT invoke_cron_endpoint('/api/cron/poll-activities')");
$node->deliver_and_harvest for 1 .. 2;
fields_are($node->invocation('postgres', $id), { status => 'succeeded', http_status => 200, attempts => 1, hint => qr/^The app answered 401 .* accepted the previous one/ }, 'a call that the app answers with 401 is made again with the previous secret');
is(scalar(my @made = $node->attempts('postgres', $id)), 1, '... as one attempt');
is($node->as_owner("SELECT status FROM wee5_cron.doctor() WHERE check_name = 'cron_secret_previous'"), 'warning', '... and doctor() warns that the app expects the previous secret');
is($node->as_owner("SELECT wee5_cron.redact_for('postgres', 'neither $secret-of-tomorrow nor $secret')"), 'neither [secret] nor [secret]', 'both secrets are redacted');
$node->as_owner("SELECT wee5_cron.configure(keep_previous => false)");
is($node->safe_psql('postgres', q{SELECT count(*) FROM vault.secrets WHERE name = 'cron_secret_previous'}), 0, 'keep_previous => false removes the previous secret');
$id = $node->as_owner("SELECT invoke_cron_endpoint('/api/cron/poll-activities')");
$node->deliver_and_harvest;
fields_are($node->invocation('postgres', $id), { status => 'failed', http_status => 401, attempts => 1 }, '... and then a 401 ends the call');
$app->stop;

# A secret that is not stored any more when the answer comes cannot be struck out, so no text of that answer is kept.
my $not_kept  = '[not kept: a secret of this call is not stored any more, so it could not be struck out]';
my $by_hand   = q{vault.secrets WHERE name = 'cron_secret'};
my $configure = 'SELECT wee5_cron.configure(cron_secret => ';
my $target    = sub { "SELECT wee5_cron.configure_target('leaking', '@{[ $receiver->url ]}', '$_[0]', headers => '{\"X-Bypass\": \"$_[1]\", \"X-Switch\": \"on\"}')" };
for my $case (
    [ 'was replaced by hand',          '/leak', "SELECT vault.update_secret((SELECT id FROM $by_hand), 'another-secret-than-before')",   $not_kept ],
    [ 'was deleted',                   '/leak', "DELETE FROM $by_hand",                                                                    $not_kept ],
    [ 'was replaced once',             '/leak', "$configure 'another-secret-than-before')",                                               qr/\[secret\]/ ],
    [ 'was replaced twice',            '/leak', "$configure 'another-secret-than-before'); $configure 'and-one-more-than-that')",         $not_kept ],
    [ 'was stored again',              '/leak', "$configure '$secret')",                                                                  qr/\[secret\]/ ],
    [ 'of a target was replaced once', 'leaking:/leak', $target->("$secret-new", "$secret-y"),                                            qr/\[secret\]/ ],
    [ 'of a target was replaced twice', 'leaking:/leak', join(';', map { $target->("$secret-$_", "$secret-y") } 'new', 'newer'),          $not_kept ],
    [ 'in a header of a target was replaced', 'leaking:/echo', $target->("$secret-old", "$secret-z"),                                     $not_kept ],
    [ 'and its target were removed',   'leaking:/leak', "SELECT wee5_cron.drop_target('leaking')",                                      $not_kept ],
  ) {
    my ($what, $path, $change, $body) = @$case;
    $node->as_owner("SELECT wee5_cron.configure('@{[ $receiver->url ]}', '$secret', keep_previous => false)");
    $node->safe_psql('postgres', "DELETE FROM vault.secrets WHERE name = 'cron_targets'");
    $node->as_owner($target->("$secret-old", "$secret-y"));
    my $leaks = $node->as_owner("SELECT invoke_cron_endpoint('$path')");
    $node->deliver;
    $node->safe_psql('postgres', $change);
    $node->as_owner('SELECT wee5_cron.harvest()');
    fields_are($node->invocation('postgres', $leaks), { status => 'succeeded', http_status => 200, response_body => $body }, "an answer to a call whose secret $what");
    is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation i WHERE strpos(i::text, '$secret') > 0"), 0, '... does not bring it into the ledger');
}
$node->safe_psql('postgres', "DELETE FROM vault.secrets WHERE name = 'cron_targets'");

# Another app, with a secret and headers of its own.
my $billing = Wee5Cron::Receiver->start(secret => "$secret-of-billing");
$node->as_owner("SELECT wee5_cron.configure('@{[ $receiver->url ]}', '$secret'); SELECT wee5_cron.configure_target('app', NULL, NULL, headers => '{\"X-App\": \"$secret-x\"}')");
$node->as_owner("SELECT wee5_cron.configure_target('billing', '@{[ $billing->url ]}', '$secret-of-billing', headers => '{\"X-Bypass\": \"$secret-y\"}')");
my %call = map { $_ => $node->as_owner("SELECT invoke_cron_endpoint('$_')") } 'billing:/leak', 'billing:/status/401', 'billing:/echo', '/echo';
$node->deliver_and_harvest for 1 .. 2;
fields_are($node->invocation('postgres', $call{$_}), { status => 'succeeded', endpoint_path => $_, response_body => qr/\[secret\]/ }, "$_: no secret is in the answer") for 'billing:/leak', 'billing:/echo', '/echo';
fields_are($node->invocation('postgres', $call{'billing:/status/401'}), { status => 'failed', hint => qr/the secret of target "billing" \(SELECT wee5_cron\.configure_target\(\)\)/ }, 'a hint names the target');
my ($of_billing) = $billing->requests('/echo');
is("$of_billing->{bearer} $of_billing->{headers}{'x-bypass'}", "match $secret-y", 'the target gets its own secret and header');
is($of_billing->{headers}{'x-app'}, undef, '... and no header of the app');
is($of_billing->{headers}{'x-wee5-cron-invocation'}, $call{'billing:/echo'}, '... and the headers of a call');
my $of_app = ($receiver->requests('/echo'))[-1];
is("$of_app->{bearer} $of_app->{headers}{'x-app'}", "match $secret-x", 'the app gets its own secret and header');
is($of_app->{headers}{'x-bypass'}, undef, '... and no header of the target');
$node->raises('postgres', "SELECT invoke_cron_endpoint('billing:/status/200?a')", '42501', 'a caller may not call a target', role => 'caller', hint => qr{VALUES \('billing:/status/200'\);});
$node->as_owner("INSERT INTO wee5_cron.endpoint (endpoint_path) VALUES ('billing:/status/200')");
is($node->error_of('postgres', "SELECT invoke_cron_endpoint('billing:/status/200?a')", role => 'caller'), undef, '... unless a policy names the path');
$node->raises('postgres', "SELECT wee5_cron.configure_target('billing', 'https://x.example.com', 'hush')", '42501', '... nor configure one', role => 'caller');
$node->raises('postgres', "SELECT wee5_cron.configure_target('billing', 'ftp://x.example.com', 'hush')", '22023', 'an address that cannot be called', role => 'operator');
$node->raises('postgres', "SELECT wee5_cron.invoke('/x', target => 'missing')", '55000', 'a target that nobody configured', role => 'operator', message => qr/^target "missing" is not configured$/);
my $targets = sub { join "\n", map { "$_->{status}: $_->{detail}" } $node->rows('postgres', q{SELECT * FROM wee5_cron.doctor() WHERE check_name = 'target'}) };
like($targets->(), qr/^ok: calls of the app carry further secret headers: 1 \(vault\)\nok: target "billing" calls http\S+ with a secret of \d+ characters in the header Authorization \(vault\), further secret headers: 1$/, 'doctor() has a line for each target');
unlike($targets->(), qr/\Q$secret\E/, '... without a secret');
$node->safe_psql('postgres', q{SELECT vault.update_secret(id, (decrypted_secret::jsonb || '{"broken": {"api_url": "", "secret": 7}}')::text) FROM vault.decrypted_secrets WHERE name = 'cron_targets'});
like($targets->(), qr/^error: target "broken".*api_url is blank/m, 'a target that somebody stored by hand, and that cannot be called');
$node->as_owner("SELECT wee5_cron.configure_target('broken', '@{[ $billing->url ]}', '$secret-of-billing')");
like($targets->(), qr/^ok: target "broken" calls /m, '... is mended by configure_target()');
$node->as_owner("SELECT wee5_cron.drop_target('broken')");
$node->as_owner("SELECT wee5_cron.configure_target('billing', '@{[ $billing->url ]}/', '$secret-of-billing-anew')");
like($targets->(), qr/; the previous secret is used until /, 'a new secret keeps the previous one');
my $before = () = $billing->requests('/status/401');
$node->as_owner("SELECT invoke_cron_endpoint('billing:/status/401')");
$node->deliver_and_harvest for 1 .. 2;
is(join(' ', map { $_->{bearer} } splice @{ [ $billing->requests('/status/401') ] }, $before), 'other match', '... with which a call is made again after a 401');
$node->raises('postgres', "SELECT wee5_cron.configure('$url', 'hush')", '42501', "an operator cannot send the app's further headers to another address", role => 'operator', message => qr/^calls would send the secret headers of the app to the new address$/);
is($node->error_of('postgres', "SELECT wee5_cron.configure('@{[ $receiver->url ]}/', '$secret')", role => 'operator'), undef, '... but may store the present address again');
is($node->as_owner("SELECT wee5_cron.redact_for('postgres', '$secret-of-billing-anew $secret-of-billing $secret-x')"), '[secret] [secret] [secret]', '... and all of them are redacted');
is($node->as_owner("SELECT wee5_cron.drop_target('billing'), wee5_cron.drop_target('billing'), wee5_cron.drop_target('app')"), 't|f|t', 'drop_target() says whether there was one');
is($node->safe_psql('postgres', q{SELECT count(*) FROM vault.secrets WHERE name = 'cron_targets'}), 0, '... and after the last one Vault has no document of targets');
$billing->stop;

# Targets that ALTER DATABASE stored before.
for my $case (Wee5Cron::Targets->wrong_documents) {
    my ($document, $says) = @$case;
    $node->safe_psql('postgres', "ALTER DATABASE postgres SET app.settings.cron_targets = '$document'");
    my @lines = $node->rows('postgres', q{SELECT * FROM wee5_cron.doctor() WHERE check_name = 'target'});
    ok((grep { "$_->{status}: $_->{detail}" =~ $says } @lines), "doctor() on $document") or diag(join "\n", map { "$_->{status}: $_->{detail}" } @lines);
    unlike(join('', map { ($_->{detail}, $_->{hint} // '') } @lines), qr/hush|app\.settings\.api_url/, '... shows no value of it, and its hint is not about the app');
}
$node->raises('postgres', "SELECT invoke_cron_endpoint('billing:/x')", '55000', 'a call of a target that is stored by hand', role => 'operator', message => qr/^target "billing": api_url "ftp:.*" is neither https/, hint => qr/^Set its origin: SELECT wee5_cron\.configure_target\('billing', /)
  if $node->safe_psql('postgres', q{ALTER DATABASE postgres SET app.settings.cron_targets = '{"billing": {"api_url": "ftp://x", "secret": "hush"}}'}) eq '';
like(doctor_says('hidden_settings'), qr/^ok /, 'without targets in Vault no stored one is hidden');
my $readers = $node->one_row('postgres', q{SELECT * FROM wee5_cron.doctor() WHERE check_name = 'cron_secret_readers'});
fields_are($readers, { status => 'warning', hint => qr/^SELECT wee5_cron\.configure_target\(/ }, '... and doctor() says who can read their secrets, and how to replace them');
$node->as_owner("SELECT wee5_cron.configure_target('billing', '@{[ $receiver->url ]}', '$secret')");
like($targets->(), qr/^ok: target "billing" calls .* \(vault\)/m, 'a target in Vault takes precedence over a stored one');
for my $call ("wee5_cron.configure_target('other', '@{[ $receiver->url ]}', '$secret')", "wee5_cron.configure('@{[ $receiver->url ]}', '$secret-2')") {
    $node->raises('postgres', "BEGIN READ ONLY; SELECT $call", '25006', 'nothing is stored in a read-only transaction', role => 'operator', hint => qr/^Nothing is wrong with Vault/);
}
like(doctor_says('hidden_settings'), qr/^warning ALTER DATABASE once stored app\.settings\.cron_targets\. /, '... and doctor() says so');
$node->as_owner("SELECT wee5_cron.drop_target('billing')");
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET app.settings.cron_targets');

my (undef, $error) = $node->run_script("SELECT wee5_cron.configure('not an address', '$secret-2')");
unlike($error->{message} . $error->{hint}, qr/\Q$secret\E/, 'no error of configure() shows the secret');
$node->log_is_sane;
done_testing();
