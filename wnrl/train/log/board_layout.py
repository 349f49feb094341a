"""The layout of TensorBoard's Custom Scalars page: a run's curves in categories of charts.

A chart is a title and the regular expressions of its tags; several layers share one chart.
"""

from collections.abc import Mapping

Chart = list[str]  # regular expressions of tags
Layout = Mapping[str, Mapping[str, Chart]]  # category -> title -> chart

# Charts of a comparison. A run has none of them, but names the category: TensorBoard orders
# categories by the layout of the run whose name comes first, and adds the charts of the others.
MEANS = "0 mean return over seeds"

LAYOUT: Layout = {
    MEANS: {},
    "1 learning": {
        "training return, mean of the last 100": ["^rollout/ep_rew_mean$"],
        "evaluation return": ["^eval/mean_reward$"],
        "loss": ["^train/loss$"],
        "TD error, absolute": ["^train/td_error_abs$"],
        "gradient norm before clipping": ["^train/grad_norm$"],
        "entropy of the policy, negated": ["^train/entropy_loss$"],
        "value loss": ["^train/value_loss$"],
        "share of the returns' variance that values explain": ["^train/explained_variance$"],
        "share of ratios that PPO clips": ["^train/clip_fraction$"],
        "|ratio - 1| before PPO's first step of a rollout": ["^train/first_ratio_gap$"],
        "share of clipped gradients": ["^norm/gradient_clipped$"],
        "policy churn": ["^norm/policy_churn$"],
    },
    "2 effective learning rate": {
        "angle of a row over one update (rad)": ["^norm/angle/.*"],
        "learning rate x |gradient| / |w|": ["^norm/gradient_step/.*"],
        "|cosine| of gradient and weight": ["^norm/gradient_cosine/.*"],
    },
    "3 weight vectors": {
        "growth of ||v|| since the first reading": ["^norm/v_growth/.*"],
        "mean ||v||": ["^norm/v_norm/.*"],
        "gains g, median": ["^norm/g_50/.*"],
        "gains g, 5% quantile": ["^norm/g_05/.*"],
        "gains g, 95% quantile": ["^norm/g_95/.*"],
        "gains that changed their sign": ["^norm/g_sign_flips/.*"],
    },
    "4 activations": {
        "pre-activation mean": ["^norm/preactivation_mean/.*"],
        "pre-activation spread": ["^norm/preactivation_std/.*"],
        "shift of the means since the first reading": ["^norm/preactivation_shift/.*"],
        "stretch of the spread since the first reading": ["^norm/preactivation_stretch/.*"],
        "layer output before its normalization, mean": ["^norm/output_mean/.*"],
        "layer output before its normalization, spread": ["^norm/output_std/.*"],
        "shift of that output's means since the first reading": ["^norm/output_shift/.*"],
        "stretch of that output's spread since the first reading": ["^norm/output_stretch/.*"],
        "dormant units, tau 0": ["^norm/dormant_0/.*"],
        "dormant units, tau 0.025": [r"^norm/dormant_0\.025/.*"],
        "dormant units, tau 0.1": [r"^norm/dormant_0\.1/.*"],
        "feature rank (srank, Kumar et al. 2021)": ["^norm/srank$"],
        "feature rank (effective, Roy & Vetterli 2007)": ["^norm/effective_rank$"],
    },
    "5 batch statistics": {
        "batch mean from running mean, in running std": ["^norm/statistics_gap/.*"],
        "batch variance / running variance": ["^norm/statistics_variance_ratio/.*"],
    },
    "6 values": {
        "predicted minus realised return": ["^norm/value_gap$"],
        "its root mean square": ["^norm/value_gap_rms$"],
        "predicted and realised": ["^norm/value_predicted$", "^norm/value_realised$"],
    },
    "7 curvature": {
        "largest eigenvalue of the Hessian": ["^norm/curvature/hessian_largest/.*"],
        "smallest eigenvalue of the Hessian": ["^norm/curvature/hessian_smallest/.*"],
        "mean |eigenvalue| of the Hessian": ["^norm/curvature/hessian_mean_magnitude/.*"],
        "condition of the Hessian": ["^norm/curvature/hessian_condition/.*"],
        "1st / 5th eigenvalue of the Hessian": ["^norm/curvature/hessian_top5_ratio/.*"],
        "largest eigenvalue of the Gauss-Newton matrix": [
            "^norm/curvature/gauss_newton_largest/.*"
        ],
        "smallest eigenvalue of the Gauss-Newton matrix": [
            "^norm/curvature/gauss_newton_smallest/.*"
        ],
        "mean |eigenvalue| of the Gauss-Newton matrix": [
            "^norm/curvature/gauss_newton_mean_magnitude/.*"
        ],
        "condition of the Gauss-Newton matrix": ["^norm/curvature/gauss_newton_condition/.*"],
        "1st / 5th eigenvalue of the Gauss-Newton matrix": [
            "^norm/curvature/gauss_newton_top5_ratio/.*"
        ],
        "adaptive sharpness": ["^norm/curvature/adaptive_sharpness/.*"],
        "gradient noise scale (transitions)": ["^norm/curvature/noise_scale/.*"],
        "trace of the gradient's covariance": ["^norm/curvature/noise_trace/.*"],
        "squared norm of the true gradient": ["^norm/curvature/gradient_squared/.*"],
        "directions of the gradient's noise, w": ["^norm/curvature/covariance_rank_w/.*"],
        "directions of the gradient's noise, v": ["^norm/curvature/covariance_rank_v/.*"],
        "largest variance of the gradient, w": ["^norm/curvature/covariance_top_w/.*"],
        "largest variance of the gradient, v": ["^norm/curvature/covariance_top_v/.*"],
        "share of the noise that eq. 4 removes": ["^norm/curvature/covariance_removed/.*"],
    },
    "8 speed": {
        "agent steps per second": ["^time/fps$"],
        "time of one act of all environments (ms)": ["^time/act_ms$"],
        "time of one update (ms)": ["^time/update_ms$"],
        "share of time spent on these instruments": ["^time/instruments_share$"],
    },
}
