# The portable edition follows the rules of the library: the test asks its twins in PL/pgSQL the same questions, and they
# give the same answers, errors and hints to the letter. First the rules themselves, then the functions of both editions in
# two databases of one server. The questions: test/vectors, the fuzzers' corpora, and random changes of both. WEE5_SEED
# repeats a run, WEE5_ROUNDS asks more.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::Hosted;

use Encode qw(decode FB_CROAK LEAVE_SRC);
use File::Basename qw(basename);

my $seed   = $ENV{WEE5_SEED}   // int rand 1_000_000_000;
my $rounds = $ENV{WEE5_ROUNDS} // 100;
srand $seed;
note "seed $seed";

my $root = "$FindBin::RealBin/../..";

# --- the two programs that answer ------------------------------------------------------------------------------------

my $program = "$PostgreSQL::Test::Utils::tmp_check/core_rules";
my @objects = (glob("$root/src/core/*/*.o"), "$root/src/delivery/address/url.o");
@objects = (glob("$root/src/core/*/*.cpp"), "$root/src/delivery/address/url.cpp") if grep { !-e } @objects or @objects < 2;
PostgreSQL::Test::Utils::system_or_bail(split(/ /, $ENV{CXX} // 'g++'), '-std=c++20', '-O1', "-I$root/include", '-o', $program,
    "$root/test/support/core_rules.cpp", @objects, '-lcurl');

my $node = Wee5Cron::Node->start_new('main', preload => 'pg_cron', init => { extra => [ '--encoding=UTF8', Wee5Cron::Hosted->locale ] }, conf => "cron.timezone = 'Europe/Berlin'\n");
$node->safe_psql('postgres', 'CREATE DATABASE twins; CREATE DATABASE native');

# Functions of the edition that the rules need.
my $surroundings = <<'SQL';
CREATE SCHEMA wee5_cron;
CREATE FUNCTION wee5_cron.library_version() RETURNS text LANGUAGE sql AS $$ SELECT '%s' $$;
CREATE FUNCTION wee5_cron.call_schema() RETURNS name LANGUAGE sql AS $$ SELECT 'public'::name $$;
CREATE FUNCTION wee5_cron.server_setting(name text) RETURNS text LANGUAGE sql
  AS $$ SELECT s.setting FROM pg_settings s WHERE s.name = $1 $$;
CREATE FUNCTION wee5_cron.setting(name text) RETURNS text LANGUAGE sql AS $$ SELECT CASE name WHEN 'allow_plain_http' THEN 'off' END $$;
CREATE FUNCTION wee5_cron.hint_here(hint text) RETURNS text LANGUAGE sql AS $$ SELECT hint $$;
CREATE FUNCTION wee5_cron.setting_bytes(name text) RETURNS int LANGUAGE sql AS $$ SELECT 1048576 $$;
SQL
my ($version) = slurp_file("$root/wee5_cron.control") =~ /^default_version = '(.*)'/m;
my ($endpoint) = slurp_file("$root/sql/common/15_endpoint.sql") =~ /^(CREATE TABLE wee5_cron\.endpoint \(.*?^\);)/ms;
my @rules = qw(05_address_words 05_texts 05_unix_time 06_hosts 06_paths 06_urls 07_requests 38_outcomes 38_retries 39_answers 39_previous_secret 39_targets 44_cron_schedules 45_ticks
  49_sql_tokens 50_job_commands 54_schedule_and_pause 60_percentiles 15_endpoint 84_doctor_settings 88_doctor_tables 89_doctor_policies);

# Functions out of a file with others that need tables.
sub functions_of {
    my ($file, @names) = @_;
    my $sql = slurp_file("$root/sql/$file.sql");
    return map { $sql =~ /^(CREATE FUNCTION wee5_cron\.$_\(.*?)^COMMENT ON FUNCTION/ms ? $1 : die "$file has no function $_\n" } @names;
}
$node->safe_psql('twins', join "\n", 'SET client_min_messages = warning;', sprintf($surroundings, $version), functions_of('portable/37_address', 'trimmed'), $endpoint,
    functions_of('common/15_endpoint', 'policy_of'),
    functions_of('portable/20_invoke', qw(due_time check_key)), functions_of('portable/36_settings', qw(setting_presets known_settings unit_factor quantity shown_quantity duration_ms read_quantity)),
    map { slurp_file("$root/sql/portable/$_.sql") } @rules);
$node->safe_psql('native', 'CREATE EXTENSION wee5_cron');

sub ask_library {
    my @questions = @_;
    my $file = "$PostgreSQL::Test::Utils::tmp_check/questions";
    open my $out, '>', $file or die "$file: $!";
    print {$out} "$_\n" for @questions;
    close $out or die "$file: $!";
    my @answers = `'$program' <'$file'`;
    die "the library's program failed: $?" if $? != 0 || @answers != @questions;
    chomp @answers;
    return @answers;
}

sub ask_twins {
    my @questions = @_;
    my $ask = slurp_file("$root/test/support/twin_rules.sql");
    my $rows = join '', map { "$_\n" } @questions;
    my $answers = $node->safe_psql('twins', <<"SQL");
$ask
CREATE TEMP TABLE asked (n serial, question text);
COPY asked (question) FROM STDIN (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02');
$rows\\.
SELECT pg_temp.answer_to(question) FROM asked ORDER BY n;
SQL
    return split /\n/, $answers;
}

# The answers of a database to a list of expressions, with an error in the same form. Some questions expect that the server's
# own words for an error differ: then it is only refused.
sub ask_database {
    my ($database, @expressions) = @_;
    my $rows = join '', map { "$_\n" } @expressions;
    my $ask  = <<"SQL";
CREATE FUNCTION pg_temp.said(expression text) RETURNS text LANGUAGE plpgsql AS \$\$
DECLARE
  said text;
  hint text;
BEGIN
  EXECUTE 'SELECT ' || quote_nullable('=') || ' || coalesce((' || expression || ')::text, ' || quote_literal('NULL') || ')' INTO said;
  RETURN replace(said, E'\\n', '\\n');
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
  hint := replace(hint, 'DATABASE ' || current_database(), 'DATABASE this');
  RETURN CASE WHEN expression LIKE '%/* or refused */%' AND SQLSTATE = '22023' THEN 'refused'
              ELSE replace(format('! %s %s | %s', SQLSTATE, SQLERRM, hint), E'\\n', '\\n') END;
END
\$\$;
SET timezone = 'UTC'; SET client_min_messages = error;
DO \$\$BEGIN PERFORM wee5_cron.library_version(); END\$\$;
CREATE TEMP TABLE asked (n serial, expression text);
COPY asked (expression) FROM STDIN (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02');
$rows\\.
SELECT pg_temp.said(expression) FROM asked ORDER BY n;
SQL
    return split /\n/, $node->safe_psql($database, $ask), -1;
}

# --- questions --------------------------------------------------------------------------------------------------------

sub question { my ($rule, @arguments) = @_; return join "\t", $rule, map { uc unpack 'H*', $_ } @arguments }

sub readable {
    my ($line) = @_;
    my ($sign, @fields) = split /\t/, $line;
    return join ' | ', $sign, map { $_ eq '-' ? 'NULL' : join '', map { /[\x20-\x7e]/ ? $_ : sprintf '\x%02x', ord } split //, pack 'H*', $_ } @fields;
}

# A text in UTF-8 without NUL, like any text that an SQL function gets.
sub is_text { my ($bytes) = @_; return $bytes !~ /\0/ && eval { decode('UTF-8', $bytes, FB_CROAK | LEAVE_SRC); 1 } }

sub vectors {
    my ($rule) = @_;
    my %escapes = (t => "\t", n => "\n", r => "\r", '\\' => '\\');
    return map {
        [map { s/\\(?:x([0-9a-f]{2})|(.))/defined $1 ? chr hex $1 : $escapes{$2}/ger } split /\t/, $_, -1]
    } split /\n/, slurp_file("$root/test/vectors/$rule.txt"), -1;
}

sub corpus { my ($name) = @_; return map { slurp_file($_) } glob "$root/test/fuzz/corpus/$name/*" }

sub pick { return $_[int rand @_] }

# The text with pieces left out, doubled, replaced, or taken from another text or from the words of the rule.
sub mutated {
    my ($text, $words, @others) = @_;
    for (1 .. 1 + int rand 3) {
        my ($at, $length) = (int rand(1 + length $text), int rand 5);
        my $piece =
            rand() < 0.5 ? pick(@$words)
          : rand() < 0.5 ? do { my $other = pick(@others); substr $other, int rand(1 + length $other), int rand 12 }
          : rand() < 0.7 ? chr(32 + int rand 95)
          :                pick("\n", "\t", "\x7f", "\xc3\xa9", "\xe2\x80\x8b", "\xf0\x9f\x98\x80", '', '%', '\\', "'");
        $length = 0 if rand() < 0.5;
        $length = length($text) - $at if $at + $length > length $text;
        substr $text, $at, $length, $piece;
    }
    return $text;
}

my @times = (0, 915148800, 951782400, 1774742400, 1774746000, 1793491200, 4107542400);
sub instant { return pick(@times) + int rand(86400 * 400) }
sub policy { return (pick(1, 2, 4, 9), pick(qw(unprocessed transient never)), pick('10000,60000,300000', '0', '1500'), pick(1, 60000, 3600000)) }

# Words that are interesting as an argument of a rule. Lower case makes k, s and i of the odd letters.
my @odd = ("\xe2\x84\xaa", "\xc5\xbf", "\xc4\xb0");
my %words = (
    path        => [split(/ /, '/ // . .. %2e %2F %5c ? # % \\ /../ http:// x billing: app:/ :/ :'), "\x01"],
    api_url     => [split(/ /, 'http:// https:// : :80 :443 :0 / // @ . ? # % [::1] 127.0.0.1 10. 0x 0 .local .internal x [ ] ,'), ' '],
    host        => [@odd, split / /, '. .. [ ] : :: 0x 0 10 127 255 256 192.168. ffff .local .internal .svc localhost % - _ x'],
    plain_http  => [split(/ /, 'on off true , * *. . [::1] 10.0.0.1 web.prod x'), ' ', ', '],
    printable   => ["\n", "\e", "\xe2\x80\xae", "\xc2\x85", "\xc3\xa9", "\xf0\x9f\x98\x80"],
    redact      => [split(/ /, 's3cr3t-0123456789 %73 %5C \\ \\\\ \\u0073 % + %25 %2f s3cr czNjcjN0LTAxMjM0NTY3ODk= [secret]'), ' '],
    redact_all  => [split(/ /, 'alpha alpha-beta %61 YWxwaGE= [secret] s3cr'), ' '],
    previous_secret => [split(/ /, '{ } [ ] : , " \\u0041 \\u00e9 \\" secret api_url until 2026-11-29T12:00:00Z T Z . +01:00 null 1 -'), ' '],
    header      => [@odd, split(/ /, 'X- : - authorization proxy- x-wee5-cron- te'), "\r", "\n"],
    retry_after => [split(/ /, '0 1 99 GMT Feb 29 Sun Sunday - : ,'), ' ', '  '],
    schedule    => [@odd, split(/ /, '* / - , $ @ # 0 1 5 7 12 23 31 59 60 jan FEB sun MON @daily second seconds'), ' ', ' ', "\t", "\n"],
    job_command => [@odd, "invo\xe2\x84\xaae_cron_endpoint", split(/ /, 'invoke_cron_endpoint run invoke harvest wee5_cron . ( ) [ ] , ; :: := => \'\' " $$ $a$ E\' U&\' \\ /* */ -- text '
          . 'cast as varchar(9) select call from do execute format( %L %1$s % endpoint_path target null'), "\n", ' ', "'/x'"],
);
my %words_of = (encoded_path => 'path', join_url => 'api_url', webhook => 'api_url', plain_http_host => 'plain_http');

# Which arguments of each rule change at random. The others stay, or are made anew.
my %changed = (
    path => [0], encoded_path => [0], api_url => [0], webhook => [0], host => [0], plain_http => [0], plain_http_host => [0, 1],
    printable => [0], redact => [0, 1], redact_all => [0, 1, 2], previous_secret => [0],
    rotation => [0, 1], secret => [0], method => [0], header => [0, 1], headers => [0, 4], occurrence => [0, 1, 2, 5, 6],
    retry_after => [0], next_attempt => [7], may_begin => [], schedule => [0], job_command => [0], join_url => [2]);
my %fresh = (
    retry_after  => sub { $_[0][1] = instant() * 1_000_000 + int rand 1_000_000 },
    next_attempt => sub {
        my $begun = instant() * 1_000_000;
        @{ $_[0] }[0 .. 6] = (policy(), 1 + int rand 5, pick(qw(dns connect tls timeout http http redirect response lost incomplete config)), pick(0, 408, 425, 429, 500, 503, 404));
        @{ $_[0] }[8 .. 10] = ($begun, $begun + int rand 4_000_000_000, sprintf '%.6f', rand);
    },
    may_begin => sub { my $begun = instant() * 1_000_000; $_[0] = [policy(), int rand 6, $begun, $begun + int rand 4_200_000_000] },
    schedule  => sub { @{ $_[0] }[1 .. 3] = (pick(qw(t t f)), pick(qw(t t f)), instant()) },
    printable => sub { $_[0][1] = int rand 120 },
);

# An answer that pg_net got, from parts.
my @errors = map { $_->[0] } vectors('pg_net_error');
my @paths  = map { $_->[0] } grep { length $_->[0] } vectors('path');

sub pg_net_answer {
    my $begun  = instant() * 1_000_000;
    my $secret = pick('s3cr3t-0123456789', "it's a \\ secret%", 'short', 'x' x 400, '');
    my $echo   = pick($secret, join('', map { sprintf '%%%02x', ord } split //, $secret), $secret =~ s/(.)/\\$1/gr);
    my $body   = pick('', '{"ok":true}', "Bearer $echo ", "<html>\xc3\xa9\\n+%41", "$echo\xf0\x9f\x98\x80") x pick(1, 1, 3, 40, 600);
    my @header = map { (pick(qw(x-vercel-cache X-Nextjs-Cache age Age retry-after Retry-After content-type wee5-cron Wee5-Cron), 'a:b', 'wee5-cron:accepted'),
                        pick('HIT', 'stale', ' hit ', 'accepted', ' Accepted ', '0', '12', '07, 0', '120', 'Fri, 31 Dec 2099 23:59:59 GMT', 'x')) } 1 .. int rand 4;
    my %seen;
    @header = map { $seen{ $header[2 * $_] }++ ? () : @header[2 * $_, 2 * $_ + 1] } 0 .. $#header / 2;
    my $failed = pick(qw(f f t));
    # jsonb puts shorter names first, and pg_net's answers come out of it in that order.
    my @sorted = map { ($_, { @header }->{$_}) } sort { length $a <=> length $b || $a cmp $b } grep { $seen{$_} } keys %seen;
    return (pick(qw(f f f f t)), pick(0, 200, 204, 202, 202, 301, 304, 308, 399, 400, 401, 403, 404, 405, 408, 418, 429, 500, 502, 503, 504, 599, 600, 100, 199),
        pick(qw(f f f t)), $failed, $failed eq 't' ? pick(@errors) . pick('', '', " $echo") : '', pick('', 'application/json', 'text/html; charset=utf-8', 'TEXT/HTML', 'application/xhtml+xml', "x $echo"),
        $body, pick(@paths, '/x' x 150, 'billing:/x', "/it's\\x?y=1"), pick('http://localhost:3000/x', 'https://app.example.com/x', 'http://[::1]:3/x', 'https://a@b:1/x?y', 'nonsense', ''),
        pick('', qw(GET POST PUT DELETE)), pick(0, 1, 1500, 5000, 10000, 60000, 10001), 1 + int rand 5, $begun, pick(qw(t t f)),
        policy(), $begun + int rand 4_000_000_000, sprintf('%.6f', rand), pick(0, 1, 7, 100, 8192), $secret =~ / / ? '' : $secret, pick(1, 3_600_000, 9_000_000_000), @sorted);
}

# Versions of libcurl disagree about odd addresses, such as 10.0.0.1 with a dot at its end. The twins read them like the
# version of Debian 12. With other versions, the test only compares addresses of plain hosts.
my $libcurl = `curl-config --version` // '';

sub is_read_alike {
    my ($rule, $address) = @_;
    return 1 if $rule !~ /^(?:api_url|join_url|webhook)$/ || $libcurl =~ /^libcurl 7\.88\./;
    my ($authority) = $address =~ m{://([^/?#]*)};
    return !defined $authority || $authority =~ /^(?:(?:[A-Za-z][A-Za-z0-9-]*\.)*[A-Za-z][A-Za-z0-9-]*|[1-9][0-9]{0,2}(?:\.[1-9][0-9]?){3})(?::[1-9][0-9]{0,3})?$/;
}

# --- compared ---------------------------------------------------------------------------------------------------------

# libcurl's messages about a URL differ between its versions.
sub comparable { my ($answer) = @_; my $said = uc unpack 'H*', 'that libcurl accepts ('; $answer =~ s/($said)(?:..)*?(29)(?=\t)/$1$2/; return $answer }

sub answer_alike {
    my ($rule, @questions) = @_;
    my @library = ask_library(@questions);
    my @twins   = ask_twins(@questions);
    my @wrong   = sort { length $questions[$a] <=> length $questions[$b] }
      grep { comparable($library[$_]) ne comparable($twins[$_] // '') } 0 .. $#questions;
    ok(!@wrong, "$rule: " . @questions . ' questions, no different answer')
      or diag(@wrong . " differ with seed $seed; the smallest:\n  question: " . readable($questions[$wrong[0]])
        . "\n  library:  " . readable($library[$wrong[0]]) . "\n  twin:     " . readable($twins[$wrong[0]] // ''));
    return;
}

my %corpora = (
    join_url    => [map { [split(/\n/, $_, 2)] } corpus('endpoint_url')],
    schedule    => [map { [(split /\n/, $_, 2)[1], 't', 't', 1774742400] } corpus('cron_schedule')],
    job_command => [map { [(split /\n/, $_, 2)[1], 'public'] } corpus('job_command')],
    retry_after => [map { [$_, 1774742400000000] } corpus('retry_after')],
);
$_ = [$_->[0], 'on', $_->[1]] for @{ $corpora{join_url} };

for my $rule (sort keys %changed) {
    my @known = grep { @$_ > 0 } vectors($rule);
    pop @known if @known > 1 && @{ $known[-1] } <= 1 && !length($known[-1][0] // '');
    push @known, @{ $corpora{$rule} // [] };
    @known = grep { is_read_alike($rule, $_->[0]) } @known;
    my @questions = map { question($rule, @$_) } @known;
    for (1 .. $rounds) {
        my @arguments = @{ pick(@known) };
        for my $place (@{ $changed{$rule} }) {
            next if @{ $changed{$rule} } > 1 && rand() < 0.3;
            $arguments[$place] = mutated($arguments[$place], $words{ $words_of{$rule} // $rule } // $words{printable}, map { $_->[$place] // '' } @known);
        }
        my $arguments = \@arguments;
        $fresh{$rule}->($arguments) if $fresh{$rule};
        # A caller's path is checked before it is joined.
        next if $rule eq 'join_url' && $arguments->[2] !~ m{^/};
        push @questions, question($rule, @$arguments) if is_read_alike($rule, $arguments->[0]) && !grep { !is_text($_) } @$arguments;
    }
    answer_alike($rule, @questions);
}
# Documents of targets, as somebody may have stored them.
my @documents = grep { @$_ > 1 } vectors('target');
answer_alike('target', map { question('target', @$_) } @documents);
# jsonb has forgotten the first of two members of a name, which no call uses.
answer_alike('target_secrets', map { question('target_secrets', $_->[0]) } grep { $_->[0] !~ /"billing".*"billing"/ } @documents);
sub secrets_of_request { return [ pick('s3cr3t', "it's"), map { ($_ => pick('on', 'ON', ' true ', 'no', '0', '1', '01', ' ', '', "\t4711 ", 's3cr3t', 'yes!')) } grep { rand() < 0.5 } map { "X-$_" } 'A' .. 'F' ] }
answer_alike('request_secrets', map { question('request_secrets', @$_) } map { secrets_of_request() } 1 .. $rounds);
# Errors and hints about the address of a target.
answer_alike('url_of_target', map { question('url_of_target', @$_[0, 1], '/x', 'billing') } grep { @$_ > 1 && is_read_alike('api_url', $_->[0]) } vectors('api_url'));
# What a webhook answers to an alert.
sub webhook_answer {
    my ($status) = @_;
    my @answer = (pg_net_answer())[ 0 .. 22 ];
    @answer[ 0 .. 4, 7 ] = ('f', $status, 'f', 'f', '', 'wee5_cron.alert');
    return [ @answer, 'wee5-cron', 'accepted' ];
}
# All headers of a request. Most calls have the secret in the usual header, and none of their own.
sub request {
    my ($who) = pick([ vectors('headers') ]->@*);
    my %custom = map { $_ => pick('a', '', 'x y') } grep { rand() < 0.25 } qw(X-A x-a User-Agent traceparent TraceParent X-Bypass x-bypass x-api-key x-vercel-cron-schedule);
    my %further = map { $_ => pick('b', "\xc3\xa9") } grep { rand() < 0.2 } qw(X-Bypass X-A user-agent Traceparent);
    my @place = rand() < 0.6 ? ('Authorization', 'Bearer ') : (pick('X-Api-Key', 'authorization', 'Authorization', 'User-Agent'), pick('', 'Key ', 'Bearer '));
    %custom  = () if rand() < 0.4;
    %further = () if rand() < 0.6;
    delete @further{ grep { lc eq lc $place[0] } keys %further };
    return [ pick('s3cr3t', "it's % \"\\"), int rand 1_000_000, int rand 9, pick($who->[3], ''), mutated($who->[4], $words{printable}, 'a job'), pick($who->[5], ''),
        pick(qw(t f)), pick(0, 1, 30000, 2147483647), pick(qw(on off unsampled)), @place, scalar keys %further, %further, %custom ];
}
answer_alike('request_headers', map { question('request_headers', @$_) } grep { !grep { !is_text($_) } @$_ } map { request() } 1 .. 2 * $rounds);
answer_alike('pg_net', map { question('pg_net', @$_) } grep { !grep { !is_text($_) } @$_ } map { webhook_answer($_) } (200, 202, 308, 401, 404, 500) x 5);
answer_alike('pg_net', map { question('pg_net', @$_) } grep { !grep { !is_text($_) } @$_ } map { [pg_net_answer()] } 1 .. 2 * $rounds);

# --- the functions of both editions -----------------------------------------------------------------------------------

sub literal { my ($bytes) = @_; return defined $bytes ? "convert_from('\\x" . unpack('H*', $bytes) . "', 'UTF8')" : 'NULL' }

# An expression for both, or one for each: [native, twin].
sub editions_alike {
    my ($name, @expressions) = @_;
    @expressions = map { ref ? $_ : [$_, $_] } @expressions;
    my @native = ask_database(native => map { $_->[0] } @expressions);
    my @twins  = ask_database(twins => map { $_->[1] } @expressions);
    my @wrong  = sort { length $expressions[$a][0] <=> length $expressions[$b][0] } grep { $native[$_] ne ($twins[$_] // '') } 0 .. $#expressions;
    ok(!@wrong, "$name: " . @expressions . ' expressions, no different answer')
      or diag(@wrong . " differ with seed $seed; the smallest:\n  $expressions[$wrong[0]][1]\n  native: $native[$wrong[0]]\n  twin:   "
        . ($twins[$wrong[0]] // ''));
    return;
}

sub schedules {
    my @known = map { $_->[0] } vectors('schedule');
    return grep { is_text($_) } @known, map { mutated(pick(@known), $words{schedule}, @known) } 1 .. $rounds;
}

# Including the hours in which the clocks of pg_cron's time zone change.
my @changes = (1774746000, 1793494800);
sub moment { return 'to_timestamp(' . (rand() < 0.5 ? pick(@changes) + int(rand 40000) - 20000 : instant()) . ')' }

editions_alike('schedules', map {
    my ($schedule, $at) = (literal($_), moment());
    ("wee5_cron.ticks($schedule, $at, 3)", "wee5_cron.newest_tick($schedule, $at)", "wee5_cron.never_fires($schedule, $at)",
        "wee5_cron.ticks($schedule, $at, 40, $at - interval '7 seconds', $at + interval '2 minutes')")
} schedules());

editions_alike('percentiles', map {
    my @numbers = map { pick('NULL', "'infinity'", "'NaN'", 0, -1, (int rand 20) x 9, (rand 1000) x 9) } 1 .. int rand 30;
    "wee5_cron.percentiles(array[" . join(', ', @numbers) . "]::float8[], '{0,0.5,0.95,1}')::text"
} 1 .. $rounds);

my @commands = map { $_->[0] } vectors('job_command'), @{ $corpora{job_command} };
editions_alike('job commands', map {
    my $command = literal($_);
    "array[wee5_cron.calls_us($command)::text, wee5_cron.path_of_command($command), wee5_cron.is_plain_call($command)::text, "
      . "wee5_cron.functions_of_command($command)::text, wee5_cron.harvests($command)::text, wee5_cron.other_call($command)::text]"
} grep { is_text($_) } @commands, map { mutated(pick(@commands), $words{job_command}, @commands) } 1 .. $rounds);

# Every user of pg_cron can write a command of any tokens. Those that no pattern can tell are not much slower to read.
my $times_slower = $node->safe_psql('twins', <<'SQL');
CREATE FUNCTION pg_temp.took(command text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
  began constant timestamptz := clock_timestamp();
BEGIN
  PERFORM wee5_cron.read_sql_tokens(command);
  RETURN extract(epoch FROM clock_timestamp() - began);
END
$$;
SELECT min(pg_temp.took(repeat('{ ', 3000))) / min(pg_temp.took(repeat('; ', 3000))) FROM generate_series(1, 3);
SQL
cmp_ok($times_slower, '<', 20, 'a command of odd tokens is read nearly as fast as one of others');

# A row of wee5_cron.endpoint; each column is refused in some of them, at random.
my @columns = (
    endpoint_path => ["'/x'", "'/x?y=1'", "'//x'", 'NULL', "''"],
    method        => ['NULL', "'POST'", "'get'", "'DELETE'", "'FETCH'"],
    body          => ['NULL', 'NULL', "'{}'::jsonb", "to_jsonb(repeat('x', 1048576))"],
    headers       => ['NULL', q('{"X-A": "b"}'::jsonb), q('{"Host": "x"}'::jsonb), q('{"X-A": 1}'::jsonb), q('[]'::jsonb), q('{}'::jsonb), q('{"X A": "b"}'::jsonb)],
    timeout       => ['NULL', "interval '1 minute'", "interval '0'", "interval '25 days'", "interval '-1 day'", "interval '1 month -30 days 1 ms'"],
    max_attempts  => ['NULL', 1, 0, -3],
    retry_on      => ['NULL', "'transient'", "'never'", "'always'"],
    retry_delays  => ['NULL', "'{10s,1min}'::interval[]", "'{}'::interval[]", "'{{1s},{2s}}'::interval[]", "'{-1s}'::interval[]", "'{1s,NULL}'::interval[]", "'{101 years}'::interval[]"],
    retry_window  => ['NULL', "interval '1 hour'", "interval '0'", "interval '1000 years'"],
    overlap       => ['NULL', "'skip'", "'allow'", "'queue'", "'wait'"],
    alert_after   => ['NULL', 3, 0],
    complete_within => ['NULL', "interval '2 hours'", "interval '0'", "interval '101 years'"],
    keep_failed   => ['NULL', "interval '0'", "interval '-1 minute'"],
    keep_succeeded => ['NULL', "interval '1 day'", "interval '101 years'"],
    max_in_flight => ['NULL', 4, 0, -1],
    max_response_bytes => ['NULL', 0, 1048576, 1048577, -1],
);
editions_alike('policies', map {
    my @fields;
    for (my $i = 0; $i < @columns; $i += 2) {
        my @values = @{ $columns[$i + 1] };
        push @fields, "'$columns[$i]', " . (rand() < 0.7 ? $values[0] : pick(@values));
    }
    'wee5_cron.check_policy(jsonb_populate_record(NULL::wee5_cron.endpoint, jsonb_build_object(' . join(', ', @fields) . ')))'
} 1 .. 2 * $rounds);

editions_alike('what a call of wee5_cron says', (map {
    my $path = literal($_);
    ("wee5_cron.check_endpoint_path($path)", "wee5_cron.target_of($path)", "wee5_cron.explain_overlap($path, 7)::text",
        "(SELECT array[d.status, d.reason, d.error, d.hint]::text FROM wee5_cron.decide_incomplete($path, 1, now(), 0.5) d)",
        map { "wee5_cron.outcome_error('$_', $path)" } qw(config dns connect tls timeout http redirect response lost incomplete overlap cancelled x))
} map { $_->[0] } vectors('path')),
    'wee5_cron.check_endpoint_path(NULL)', 'wee5_cron.explain_overlap(NULL, NULL)::text', "wee5_cron.outcome_error('lost', NULL)",
    map { 'wee5_cron.api_url_parts(' . literal($_->[0]) . ')::text' } grep { length $_->[0] && is_read_alike('api_url', $_->[0]) && $_->[0] !~ /\[|,|<|:80a|:65536/ } vectors('api_url'));

# Times and sizes of settings. Postgres reads those of the extension.
editions_alike('quantities', map {
    my ($setting, @units) = @$_;
    my $value = literal(pick('', '', ' ') . pick(0, 1, 2, 7, 30, 59, 60, 90, 1000, 1024, 1440, 1500, 3600, 65536, 86400, 1048576, 67108864, 67108865, 2147483647, 2147483648, -1, -5, '0.5', '1.5', '2.5', '12.25', 'x', '', '1 2')
          . pick('', '', ' ') . pick('', @units, pick('S', 'kb', 'sec', 'TB', 'm')) . pick('', ' '));
    my ($native, $twin) = ("set_config('wee5_cron.$setting', $value, true)", "(SELECT wee5_cron.read_quantity(k, $value) FROM wee5_cron.known_settings() k WHERE k.name = '$setting')");
    ([ "$native /* or refused */", "$twin /* or refused */" ],
        $units[0] eq 'ms' ? [ "(extract(epoch FROM $native\::interval) * 1000)::bigint /* or refused */", "wee5_cron.duration_ms($twin) /* or refused */" ] : ())
} map { ([qw(request_timeout ms s min h d)], [qw(alert_repeat ms s min h d)], [qw(keep_failed min h d s)], [qw(max_response_bytes B kB MB GB)], [qw(max_request_bytes B kB MB)]) } 1 .. $rounds);

# What becomes of an answer by the policy of its path, which may be one that the table would refuse today.
my @policies = map {
    my %odd = (method => ['NULL', "'POST'"], timeout => [], retry_on => ["'always'"], max_attempts => [7], complete_within => ["interval '5 minutes'"], max_response_bytes => [9]);
    my %values = @columns;
    my @fields = map { "'$_', " . pick(@{ $values{$_} }, @{ $odd{$_} // [] }) } grep { $_ !~ /^(?:endpoint_path|body|headers|method)$/ && rand() < 0.6 } sort keys %values;
    "INSERT INTO wee5_cron.endpoint SELECT (jsonb_populate_record(NULL::wee5_cron.endpoint, jsonb_build_object(" . join(', ', "'endpoint_path', '/p$_'", @fields) . '))).*;'
} 1 .. 20;
$node->safe_psql('native', "ALTER TABLE wee5_cron.endpoint DISABLE TRIGGER check_endpoint; ALTER DATABASE native SET app.settings.cron_secret = 's3cr3t-0123456789'");
$node->safe_psql($_, join "\n", @policies) for qw(native twins);
sub decision {
    my @answer  = pg_net_answer();
    my $failed  = $answer[3] eq 't';
    my %headers = @answer[ 23 .. $#answer ];
    $headers{$_} = pick(0, 7, 120) for grep { lc eq 'retry-after' } keys %headers;
    my $json = join ', ', map { literal($_) . ', ' . literal($headers{$_}) } sort keys %headers;
    my $odd  = pick("jsonb_build_object($json)", "jsonb_build_object($json)", q('[1]'), q('"x"'), q('{"retry-after": [1], "wee5-cron": {"a": 1}, "age": null}'), 'NULL');
    return 'wee5_cron.decide_pg_net_answer(' . join(', ', literal('/p' . int(rand 22) . pick('', '?x=1')), map({ literal($_) } @answer[ 9, 8 ]),
        pick('NULL', "interval '5 seconds'", "interval '0'", "interval '-1 day'", "interval '25 days'"), "'postgres'", 'now()', int rand 5, "'$answer[0]'",
        pick(@answer[ 1, 1, 1 ], 'NULL', -1, 99999, 2147483647), map({ literal($_) } @answer[ 5, 6 ]), pick("'$answer[2]'", 'NULL'), $failed ? literal($answer[4]) : 'NULL', "($odd)::jsonb",
        "'$answer[13]'", pick(0, 0.25, 1), "'{s3cr3t-0123456789}', 60000, 8192", pick('NULL', "'{}'", map { "array[$_]" } q(hashtext('s3cr3t-0123456789')), q(hashtext('another')), q(hashtext('s3cr3t-0123456789'), 1))) . ')';
}
editions_alike('decisions', map {
    "(SELECT array[d.status, d.reason, d.error, d.hint, (d.next_attempt_at - d.ended_at)::text, (d.finished_at IS NULL)::text, d.response_content_type, d.response_body, "
      . "d.response_truncated::text]::text FROM $_ d)"
} grep { is_text($_) } map { decision() } 1 .. 2 * $rounds);
editions_alike('attempts that may begin', map { my ($path, $attempt) = ('/p' . int(rand 22), int rand 6); "wee5_cron.may_still_begin('$path', $attempt, now() - interval '" . pick('1 minute', '20 minutes', '50 minutes', '70 minutes', '2 hours', '1 year') . "')" } 1 .. $rounds);

# What invoke() and configure_target() refuse before they do anything.
my @names = ('billing', 'Billing', 'x' x 63, 'x' x 64, 'http', 'https', '', '1a', 'a b', 'app', "a\n", "\xc3\xa9", 'a_-9');
sub given_target {
    my $quoted = sub { my ($text) = @_; return defined $text ? literal($text) : 'NULL' };
    return join ', ', (map { $quoted->($_) } pick(@names), pick('https://billing.example.com', 'https://x/y', 'http://billing.example.com', 'http://localhost:3000', ' ', 'x', undef),
        pick('the secret', "a\nb", "\xc3\xa9", ' ', undef), pick('Authorization', 'X-Api-Key', 'Host', 'X A', ''), pick('Bearer ', '', "\t", "\xc3\xa9")),
      pick(q('{}'), q('{"X-A": "b"}'), q('{"x-api-key": "b"}'), q('{"X-A": "b", "x-a": "c"}'), q('{"Host": "b"}'), q('[]'), q('{"X-A": 1}'), q('{"Authorization": "b"}'));
}
editions_alike('refused arguments', (map { ["wee5_cron.invoke('/x', key => $_)", "wee5_cron.check_key($_)"] } map { literal($_) } 'k' x 201, "\xc3\xa9" x 101, "'\n" x 200),
    (map { ["wee5_cron.invoke('/x', at => $_)", "wee5_cron.due_time($_)"] } "'infinity'", "'-infinity'", "'2100-01-01 00:00:00+00'"),
    (map { ["wee5_cron.invoke('/x', target => $_)", "wee5_cron.check_target_name($_)"] } map { literal($_) } 'Bill ing', 'http', '', "a\n", 'x' x 64),
    map { my $given = given_target(); ["wee5_cron.configure_target($given)", "wee5_cron.check_given_target($given, 'vault')"] } 1 .. 2 * $rounds);

# The mark of an armed database, in one database: rows as arm() writes them, and as a copy or somebody's hand may leave them.
$node->safe_psql('native', join "\n", functions_of('portable/12_armed', 'read_mark'), 'CREATE TABLE public.gap (n int);');
sub row_of_mark {
    my $xid = pick(('a.xmin') x 8, '(a.xmin::text::bigint + 1)::text::xid', "'0'", "'2'");
    my $row = 'INSERT INTO wee5_cron.armed (database) VALUES (' . pick(('wee5_cron.database_oid()') x 9, 1) . "); UPDATE wee5_cron.armed a SET xid = $xid WHERE a.xid = '0';";
    return (rand() < 0.8 ? "SAVEPOINT s; $row RELEASE s;" : $row) . (rand() < 0.7 ? ' SAVEPOINT g; INSERT INTO public.gap VALUES (1); RELEASE g;' : '');
}
my $marks = join "\n", map {
    'BEGIN; DELETE FROM wee5_cron.armed; ' . join(' ', map { row_of_mark() } 1 .. pick(0, 1, 2, 2, 2, 2, 3)) . ' COMMIT;'
      . pick(('') x 6, ' VACUUM (FREEZE) wee5_cron.armed;', ' UPDATE wee5_cron.armed SET note = note;')
      . "\n\\connect\nSELECT wee5_cron.has_mark()::text || (wee5_cron.read_mark()).is_valid::text;"
} 1 .. $rounds;
my %marks;
$marks{$_}++ for split /\n/, $node->safe_psql('native', $marks);
is(join(' ', sort keys %marks), 'falsefalse truetrue', "marks: $rounds tables, valid and invalid ones, no different answer") or diag("seed $seed: " . join ', ', map { "$_ $marks{$_}" } sort keys %marks);

# A database knows its OID under any name.
for my $name ('Mixed Case', 'quo"te and \'single\'', 'back\\slash.dot', "\xc3\xa9" x 31, 'x' x 63) {
    my $quoted = '"' . ($name =~ s/"/""/gr) . '"';
    $node->safe_psql('postgres', "CREATE DATABASE $quoted");
    is($node->safe_psql('postgres', join "\n", '\\connect ' . $quoted, 'CREATE SCHEMA wee5_cron;', functions_of('common/12_armed', 'database_oid'),
            'SELECT (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) = wee5_cron.database_oid();'), 't', 'database_oid() of a database with the name ' . readable("=\t" . unpack('H*', $name)));
    $node->safe_psql('postgres', "DROP DATABASE $quoted");
}

# The tables that only the portable edition has, and which types stop the worker, are no part of this.
editions_alike('the columns of the tables', q{(SELECT string_agg(format('%s.%s %s', l.table_name, l.column_name, l.column_type), ', ' ORDER BY l.table_name, l.column_name)
    FROM wee5_cron.table_layout() l WHERE l.table_name NOT IN ('setting', 'background_task'))});

done_testing();
