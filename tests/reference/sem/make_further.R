# Further questions to fitted models: modification indices, difference tests, factor scores, residual correlations.
# Run in this folder after data.R: Rscript make_further.R  (writes further.json)
suppressMessages({library(lavaan); library(jsonlite)})
cases <- fromJSON("cases.json", simplifyVector = TRUE, simplifyDataFrame = FALSE)
read <- list(hs = "../hs1939.csv", political = "political.csv", growth = "growth.csv", bfi = "bfi.csv", clinic = "clinic.csv")
data <- lapply(read, read.csv)
fit_case <- function(name, ...) {
  case <- cases[[name]]
  arguments <- list(model = case$model, data = data[[case$data]])
  for (key in c("estimator", "group", "group_equal", "group_partial", "std_lv", "orthogonal", "meanstructure", "missing",
                "cluster", "parameterization"))
    if (!is.null(case[[key]])) arguments[[gsub("_", ".", key)]] <- case[[key]]
  if (!is.null(case$ordered)) arguments$ordered <- case$ordered
  suppressWarnings(do.call(if (is.null(case$auto)) "cfa" else case$auto, modifyList(arguments, list(...))))
}
indices <- lapply(setNames(nm = c("hs_ml", "hs_groups_scalar", "political_sem", "hs_mlr", "bfi_wlsmv_pairwise",
                                  "bfi_wlsmv_groups_equal", "clinic_fiml")), function(name) {
  m <- modindices(fit_case(name), sort. = TRUE)
  if (is.null(m$group)) m$group <- 1
  m <- m[m$op %in% c("=~", "~~", "~"), ][1:12, c("lhs", "op", "rhs", "group", "mi", "epc", "sepc.lv", "sepc.all")]
  lapply(seq_len(nrow(m)), function(i) unname(lapply(as.list(m[i, ]), function(v) if (is.numeric(v)) signif(v, 8) else v)))
})
compare <- function(free, restricted, method = "default", ...) {
  r <- suppressWarnings(lavTestLRT(free, restricted, method = method))
  list(chisq_diff = r[2, "Chisq diff"], df_diff = r[2, "Df diff"], pvalue = r[2, "Pr(>Chisq)"])
}
metric <- list(group.equal = "loadings")
scalar <- list(group.equal = c("loadings", "intercepts"))
comparisons <- list(
  hs_ml_orthogonal = compare(fit_case("hs_ml"), fit_case("hs_ml", orthogonal = TRUE)),
  hs_groups_metric = compare(fit_case("hs_groups"), fit_case("hs_groups_metric")),
  hs_mlr_2001 = compare(fit_case("hs_mlr"), fit_case("hs_mlr", orthogonal = TRUE)),
  hs_mlr_2010 = compare(fit_case("hs_mlr"), fit_case("hs_mlr", orthogonal = TRUE), "satorra.bentler.2010"),
  hs_groups_mlr_2001 = compare(fit_case("hs_groups_mlr", group.equal = "loadings"), fit_case("hs_groups_mlr")),
  clinic_fiml_mlr_2001 = compare(fit_case("clinic_fiml_mlr"), fit_case("clinic_fiml_mlr", orthogonal = TRUE)),
  bfi_wlsmv_pairwise = compare(fit_case("bfi_wlsmv_pairwise"), fit_case("bfi_wlsmv_pairwise", orthogonal = TRUE)),
  bfi_wlsmv_groups = compare(fit_case("bfi_wlsmv_groups"), fit_case("bfi_wlsmv_groups_equal")),
  clinic_wlsmv_bifactor = compare(fit_case("clinic_wlsmv_bifactor"), fit_case("clinic_wlsmv"))
)
score <- function(name, method, rows = 1:8) {
  s <- lavPredict(fit_case(name), method = method)
  if (is.list(s)) s <- s[[1]]
  unname(lapply(rows, function(i) signif(as.numeric(s[i, ]), 8)))
}
scores <- list(
  hs_ml_regression = score("hs_ml", "regression"), hs_ml_bartlett = score("hs_ml", "Bartlett"),
  hs_groups_scalar_regression = score("hs_groups_scalar", "regression"),
  hs_groups_scalar_bartlett = score("hs_groups_scalar", "Bartlett"),
  hs_second_order_regression = score("hs_second_order", "regression"),
  clinic_fiml_regression = score("clinic_fiml", "regression", 1:40),
  clinic_wlsmv_ebm = score("clinic_wlsmv", "EBM"),
  bfi_wlsmv_mixed_ebm = score("bfi_wlsmv_mixed", "EBM")
)
residual <- function(name) {
  r <- lavResiduals(fit_case(name), type = "cor.bollen", se = FALSE, zstat = FALSE, summary = FALSE)
  if (!is.null(r$cov)) unname(signif(unclass(r$cov), 8)) else unname(signif(unclass(r[[1]]$cov), 8))
}
residuals <- lapply(setNames(nm = c("hs_ml", "clinic_fiml", "clinic_wlsmv", "bfi_wlsmv_mixed")), residual)
writeLines(toJSON(list(
  versions = list(R = R.version.string, lavaan = as.character(packageVersion("lavaan"))),
  modification_indices = indices, comparisons = comparisons, scores = scores, residuals = residuals),
  auto_unbox = TRUE, digits = NA, na = "null"), "further.json")
