"""URLs of home, sign-in, and the people and places of a study."""

from django.urls import path

from studies import account_views, audit_views, email_sign_in_views, identifier_views, views

urlpatterns = [
    path("", views.home, name="home"),
    path("login/", account_views.sign_in, name="login"),
    path("logout/", views.sign_out, name="logout"),
    path("studies/<str:code>/sites/new/", views.site_new, name="site_new"),
    path("studies/<str:code>/sites/<int:site_id>/", views.site_edit, name="site_edit"),
    path("studies/<str:code>/waves/<int:wave_id>/", views.wave_edit, name="wave_edit"),
    path("studies/<str:code>/clinicians/new/", views.clinician_new, name="clinician_new"),
    path("studies/<str:code>/waves/new/", views.wave_new, name="wave_new"),
    path("studies/<str:code>/members/new/", views.member_new, name="member_new"),
    path("studies/<str:code>/members/<int:member_id>/remove/", views.member_remove, name="member_remove"),
    path(
        "studies/<str:code>/members/<int:member_id>/identifiers/", views.member_identifiers, name="member_identifiers"
    ),
    path("studies/<str:code>/identifiers/", identifier_views.identifiers, name="identifiers"),
    path(
        "studies/<str:code>/identifiers/<int:patient_id>/", identifier_views.identifiers_show, name="identifiers_show"
    ),
    path(
        "studies/<str:code>/identifiers/<int:patient_id>/edit/",
        identifier_views.identifiers_edit,
        name="identifiers_edit",
    ),
    path(
        "studies/<str:code>/identifiers/<int:patient_id>/delete/",
        identifier_views.identifiers_delete,
        name="identifiers_delete",
    ),
    path("sign-in/link/", email_sign_in_views.email_sign_in, name="email_sign_in"),
    path("sign-in/link/<str:token>/", email_sign_in_views.email_sign_in_use, name="email_sign_in_use"),
    path(
        "studies/<str:code>/members/<int:member_id>/second-factor/",
        account_views.second_factor_remove,
        name="second_factor_remove",
    ),
    path("second-factor/", account_views.second_factor_show, name="second_factor"),
    path("second-factor/setup/", account_views.second_factor_setup, name="second_factor_setup"),
    path("invitations/<str:token>/", account_views.invitation_take_up, name="invitation_take_up"),
    path("studies/<str:code>/invitations/new/", account_views.member_invite, name="member_invite"),
    path(
        "studies/<str:code>/invitations/<int:invitation_id>/withdraw/",
        account_views.invitation_withdraw,
        name="invitation_withdraw",
    ),
    path("studies/<str:code>/audit/", audit_views.audit_trail, name="audit_trail"),
    path("studies/<str:code>/audit.csv", audit_views.audit_download, name="audit_download"),
]
