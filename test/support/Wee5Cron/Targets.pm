# Documents of targets that somebody stored by hand, and what doctor() says about each. Both editions say the same.
#
#   for my $case (Wee5Cron::Targets->wrong_documents) { my ($document, $said) = @$case; ... }
package Wee5Cron::Targets;

use strict;
use warnings;

sub wrong_documents {
    my $rest = q{"api_url": "https://billing.example.com", "secret": "hush, hush, and hush"};
    return (
        [ 'hush',                                                         qr/^error: app\.settings\.cron_targets \(database\): it is not a JSON object of targets$/ ],
        [ '["hush"]',                                                     qr/^error: app\.settings\.cron_targets \(database\): it is not a JSON object of targets$/ ],
        [ qq({"billing": {$rest}),                                        qr/^error: app\.settings\.cron_targets \(database\): it is not a JSON object of targets$/ ],
        [ '{"billing": "hush"}',                                          qr/^error: target "billing" \(.*\): it is not a JSON object$/ ],
        [ '{"billing": null}',                                            qr/^error: target "billing" \(.*\): it is not a JSON object$/ ],
        [ '{"billing": {"secret": "hush"}}',                              qr/^error: target "billing" \(.*\): api_url is blank$/ ],
        [ '{"billing": {"api_url": "https://x", "secret": ["hush"]}}',    qr/^error: target "billing" \(.*\): the secret is blank$/ ],
        [ qq({"billing": {$rest, "headers": ["hush"]}}),                  qr/^error: target "billing" \(.*\): "headers" is not a JSON object$/ ],
        [ qq({"billing": {$rest, "headers": null}}),                      qr/^error: target "billing" \(.*\): "headers" is not a JSON object$/ ],
        [ qq({"billing": {$rest, "headers": {"X-A": 1}}}),                qr/^error: target "billing" \(.*\): the value of a header is not a string$/ ],
        [ qq({"billing": {$rest, "headers": {"X-A": "hush", "x-a": ""}}}), qr/^error: target "billing" \(.*\): header "X-A|x-a" is given twice$/ ],
        [ qq({"billing": {$rest, "header": "Host"}}),                     qr/^error: target "billing" \(.*\): header "Host" cannot be set/ ],
        [ '{"billing": {"api_url": "billing.example.com", "secret": "hush"}}',        qr/^error: target "billing" \(.*\): api_url "billing\.example\.com" does not begin with https/ ],
        [ '{"billing": {"api_url": "http://billing.example.com", "secret": "hush"}}', qr/^error: target "billing" \(.*\): api_url "http:.*" would send the bearer secret in clear text/ ],
        [ '{"billing": {"api_url": "https://hush@x", "secret": "hush"}}', qr/^error: target "billing" \(.*\): api_url "https:.*" holds user information before an '\@'$/ ],
        [ qq({"1st": {$rest}}),                                           qr/^error: target "1st" \(.*\): invalid target name "1st"$/ ],
        [ qq({"https": {$rest}}),                                         qr/^error: target "https" \(.*\): invalid target name "https"$/ ],
        [ '{"app": {"headers": 7}}',                                      qr/^error: target "app" \(.*\): "headers" is not a JSON object$/ ],
        [ '{"billing": {"api_url": "https://billing.example.com", "secret": "hush"}}', qr/^warning: target "billing" calls https:\S+ with a secret of 4 characters/ ],
    );
}

1;
