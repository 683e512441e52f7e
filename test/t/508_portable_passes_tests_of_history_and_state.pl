# As test 506: what is kept, who is told, and what people and monitors look at.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test fixtures => [ 'pg_net', 'supabase_vault' ];
use Wee5Cron::Editions;

Wee5Cron::Editions->pass_on_portable(
    '345_history_is_kept_for_a_while'  => 45,
    '350_somebody_is_told'             => 65,
    '360_pages_show_the_state'         => 40,
    '361_health_says_what_needs_you'   => 70,
    '362_metrics_are_scraped'          => 40,
);
done_testing();
